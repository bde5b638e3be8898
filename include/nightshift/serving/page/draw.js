// Elements from data. Whatever the service sends is text here, and never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `about` has properties, attributes like `aria-label`, and listeners like `onclick`. */
export function h(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text for screen readers alone. */
export const heard = (text) => h("span", { className: "hidden" }, text);

export const number = (value) => new Intl.NumberFormat("en").format(value);
export const words = (name) => String(name).replaceAll("_", " ");

/** A day like 2011-11-30 in words; what is none stays as it is. */
export function day(text) {
  const at = new Date(`${text}T00:00:00Z`);
  if (Number.isNaN(at.getTime())) return String(text);
  const how = { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" };
  return new Intl.DateTimeFormat("en-GB", how).format(at);
}

export const button = (text, onclick) => h("button", { type: "button", className: "plain", onclick }, text);

export function badge(tone, text) {
  return h("span", { className: `badge ${tone}` }, h("i", { "aria-hidden": "true" }), text);
}

/** A sentence across the page; `action`: a button's text, and what it does. */
export function note(tone, text, action) {
  return h("div", { className: `note ${tone}` }, h("span", {}, text), action && button(...action));
}

/** What is served, by the service's status. */
export function status(found) {
  const { live } = found;
  const older = found.stale || found.refused;
  const wrong = older || found.trouble;
  if (!live) return [badge("bad", "No run to answer from"), wrong && h("span", {}, String(wrong))].filter(Boolean);
  const { counts, model } = live;
  const bold = (text) => h("b", {}, text);
  return [
    badge(wrong ? "warn" : "good", older ? "Serving the last good run" : "Serving the live run"),
    h("span", {}, "of ", bold(day(live.run_date))),
    h("span", {}, "model ", bold(`${words(model.kind)} ${model.version}`)),
    counts && h("span", {}, bold(number(counts.users)), " customers, ", bold(number(counts.items)), " items"),
    wrong && h("span", {}, String(wrong)),
  ].filter(Boolean);
}

/** A card for when there is no list. */
export function nothing(title, text, action) {
  const parts = [moon(), h("h2", {}, title), h("p", {}, text), action && button(...action)];
  return h("section", { className: "card nothing" }, ...parts);
}

/** A card and another, in outline. */
export function loading() {
  const card = (lines) => {
    const outlines = Array.from({ length: lines }, () => h("div", { className: "skeleton" }));
    return h("div", { className: "card" }, outlines);
  };
  return h("div", { className: "columns", "aria-hidden": "true" }, card(10), card(5));
}

function moon() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", "M14 2 a10 10 0 1 0 8 14 a8 8 0 1 1 -8 -14 z");
  path.setAttribute("fill", "currentColor");
  path.setAttribute("opacity", ".18");
  svg.append(path);
  return svg;
}
