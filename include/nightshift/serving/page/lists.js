// The cards that show lists: a user's, what they bought, what is like an item, and two lists beside each other.

import { goals, moves, sums } from "./compare.js";
import { button, day, h, heard, number, words } from "./draw.js";

const SOURCES = {
  repeat: "bought before",
  two_tower: "fits the taste",
  cooccurrence: "bought together",
  graph_filter: "similar customers",
  trending: "trending",
};
const KNOWN = Object.keys(SOURCES);
const MARKS = { up: "▲", down: "▼", same: "=", new: "new", gone: "gone", to: "→" };

/** A source's place among the known ones, which is its colour too; one that is not known comes last, and is grey. */
const order = (source) => (KNOWN.includes(source) ? KNOWN.indexOf(source) : KNOWN.length);
const colour = (source) => `c${order(source)}`;
const named = (source) => SOURCES[source] ?? words(source ?? "unnamed");
const dot = (source) => h("i", { className: colour(source), "aria-hidden": "true" });
const titled = (entry) => entry.title ?? entry.item_id;
const plural = (count) => `${number(count)} ${count === 1 ? "item" : "items"}`;
const howMany = (items) => h("span", { className: "soft" }, plural(items.length));

/**
 * A user's list.
 * @param {object} answer of the service
 * @param {{title: string, before?: object, after?: object, bought?: Map, onopen: Function}} about
 *   `before`: the answer that this one is to be read after, so that it says what moved; `after`: the reverse
 */
export function listCard(answer, about) {
  const { items } = answer;
  const most = Math.max(...items.map(({ score }) => score), Number.MIN_VALUE);
  const moved = movements(items, about);
  const rows = items.map((entry, place) => row(entry, place + 1, most, moved?.get(entry.item_id), about));
  const id = `of-${answer.run_id}-${answer.variant ?? ""}`.replace(/[^\w-]/g, "_");
  return h(
    "section",
    { className: "card", "aria-labelledby": id },
    h("div", { className: "head" }, h("h2", { id }, about.title), howMany(items)),
    h("p", { className: "facts" }, made(answer)),
    ...(rows.length
      ? [mix(items), legend(items), h("ol", { className: "list" }, rows)]
      : [h("p", { className: "soft" }, "The list is empty.")]),
  );
}

function movements(items, { before, after }) {
  if (before) return moves(items, before.items);
  return after ? goals(items, after.items) : null;
}

/** What made a list. */
function made({ run_date: date, run_id: run, model, variant, surface }) {
  const of = variant && variant !== "control" ? [`variant ${variant}`] : [];
  return [`Run of ${day(date)}`, `${words(model.kind)} ${model.version}`, ...of, surface, run].join(" · ");
}

/** How many items come from which source. */
function counted(items) {
  const sources = [...new Set(items.map(({ source }) => source))].sort((one, other) => order(one) - order(other));
  return sources.map((source) => [source, items.filter((entry) => entry.source === source).length]);
}

function mix(items) {
  const bars = counted(items).map(([source, count]) => {
    const bar = h("span", { className: colour(source), title: `${named(source)}: ${count}` });
    bar.style.flex = `${count} 1 0`;
    return bar;
  });
  return h("div", { className: "stack", "aria-hidden": "true" }, bars);
}

function legend(items) {
  const entries = counted(items).map(([source, count]) => h("li", {}, dot(source), `${named(source)} ${count}`));
  return h("ul", { className: "legend", "aria-label": "Sources" }, entries);
}

function row(entry, place, most, move, { bought, onopen }) {
  const bar = h("span", { className: colour(entry.source) });
  bar.style.width = `${Math.max(2, Math.min(100, (100 * entry.score) / most))}%`;
  const last = move ? null : bought?.get(entry.item_id);
  const about = {
    type: "button",
    className: "item",
    "data-item": entry.item_id,
    "aria-expanded": "false",
    title: "Show items like this one",
    onclick: (event) => onopen(event.currentTarget.parentElement, entry),
  };
  const name = [entry.title ?? "(no title)", h("span", { className: "mono" }, entry.item_id)];
  const tag = last ? [" ", h("span", { className: "tag" }, `bought ${day(last.bought_on)}`)] : [];
  const why = h("span", {}, entry.reason ?? named(entry.source), ...tag);
  return h(
    "li",
    {},
    h(
      "button",
      about,
      h("span", { className: "place" }, heard("Place "), String(place)),
      h(
        "span",
        {},
        h("span", { className: "name" }, ...name),
        h("span", { className: "why" }, dot(entry.source), why),
      ),
      h(
        "span",
        { className: "figure" },
        move && movement(move),
        h("span", {}, heard("score "), entry.score.toPrecision(3)),
        h("span", { className: "track", "aria-hidden": "true" }, bar),
      ),
    ),
  );
}

function movement({ kind, by }) {
  const inWords = {
    up: `up ${by}`,
    down: `down ${by}`,
    same: "same place",
    new: "new",
    gone: "gone",
    to: `then in place ${by}`,
  };
  const mark = h("span", { "aria-hidden": "true" }, by ? `${MARKS[kind]} ${by}` : MARKS[kind]);
  return h("span", { className: `move ${kind}` }, mark, heard(inWords[kind]));
}

/** What is different in the list that comes after, in figures. */
export function differences(before, after) {
  const { both, fresh, moved, mean } = sums(before.items, after.items);
  const figure = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h(
    "dl",
    { className: "sums", "aria-label": "Differences" },
    figure("In both lists", `${both} of ${after.items.length}`),
    figure("New", String(fresh)),
    figure("In another place", String(moved)),
    figure("Moved by, on average", `${mean.toFixed(1)} places`),
  );
}

/** What a user bought; `found` is the answer, or the Trouble there was instead. */
export function historyCard(found) {
  const items = found.items ?? [];
  const said = instead(found);
  return h(
    "section",
    { className: "card history", "aria-labelledby": "history" },
    h("div", { className: "head" }, h("h2", { id: "history" }, "Bought before"), items.length ? howMany(items) : null),
    said ? h("p", { className: "soft" }, said) : h("ul", {}, items.map(purchase)),
  );
}

function instead(found) {
  if (found.status === 403 || found.status === 401) return "A key with the role tester shows what the customer bought.";
  if (found.status === 404) return "The run holds no purchases of this customer.";
  if (found.status !== undefined) return found.message;
  return found.items.length ? "" : "Nothing.";
}

function purchase(entry) {
  const times = entry.times > 1 ? `${number(entry.times)} times` : "once";
  const when = entry.times ? [day(entry.bought_on), h("br"), times] : [day(entry.bought_on)];
  return h("li", {}, h("span", {}, titled(entry)), h("span", {}, ...when));
}

/** Items like another, to go on from. */
export function likeThese(found, onopen, onback) {
  const entries = found.items.map((entry) => {
    const parts = [h("span", {}, titled(entry)), h("span", {}, entry.score.toPrecision(3))];
    return h("li", {}, h("button", { type: "button", onclick: () => onopen(entry) }, ...parts));
  });
  const list = entries.length ? h("ul", {}, entries) : h("p", { className: "soft" }, "Nothing is like it.");
  return like(titled(found), h("h3", {}, `Like ${titled(found)}`), list, onback && button("Back", onback));
}

/** What is below an item: its similar ones, or why there are none. */
export const like = (name, ...parts) =>
  h("div", { className: "like", role: "region", "aria-label": `Items like ${name}` }, ...parts);
