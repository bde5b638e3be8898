// What is shown, as the page's address has it: after the #, which browsers send to nobody.

const NAMES = ["user", "surface", "segment", "k", "compare", "item"];

/** @returns {Object<string, string>} the names that are given, with their values */
export function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(NAMES.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
}

/** Make the address say what is shown. `quietly`: as no step to go back to. */
export function write(shown, quietly = false) {
  const given = new URLSearchParams(NAMES.filter((name) => shown[name]).map((name) => [name, shown[name]]));
  const address = given.size ? `#${given}` : location.pathname;
  if (address === (location.hash || location.pathname)) return;
  history[quietly ? "replaceState" : "pushState"](null, "", address);
}
