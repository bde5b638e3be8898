// Two lists side by side: what moved, what is new, what is gone. Pure functions.

/**
 * How each item of `list` stands in `other`.
 * @returns {Map<string, {kind: "up"|"down"|"same"|"new", by: number}>} by item; `new`: `other` has it not
 */
export function moves(list, other) {
  const places = new Map(other.map((entry, place) => [entry.item_id, place]));
  return new Map(
    list.map(({ item_id: item }, place) => {
      if (!places.has(item)) return [item, { kind: "new", by: 0 }];
      const by = places.get(item) - place;
      return [item, { kind: by > 0 ? "up" : by < 0 ? "down" : "same", by: Math.abs(by) }];
    }),
  );
}

/**
 * Where each item of `list` is in the list after it.
 * @returns {Map<string, {kind: "to"|"gone", by: number}>} by item; `by` is its place there, from 1
 */
export function goals(list, after) {
  const places = new Map(after.map((entry, place) => [entry.item_id, place + 1]));
  const goal = (item) => (places.has(item) ? { kind: "to", by: places.get(item) } : { kind: "gone", by: 0 });
  return new Map(list.map(({ item_id: item }) => [item, goal(item)]));
}

/**
 * What has become of a list.
 * @returns {{both: number, fresh: number, moved: number, mean: number}} `mean`: places that those in both have moved
 */
export function sums(before, after) {
  const found = [...moves(after, before).values()];
  const both = found.filter(({ kind }) => kind !== "new");
  return {
    both: both.length,
    fresh: found.length - both.length,
    moved: both.filter(({ by }) => by).length,
    mean: both.length ? both.reduce((sum, { by }) => sum + by, 0) / both.length : 0,
  };
}
