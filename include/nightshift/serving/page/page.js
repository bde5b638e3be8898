// The page: takes what is asked for from the form and the address, asks the service, and shows what it says.

import * as address from "./address.js";
import * as api from "./api.js";
import * as draw from "./draw.js";
import * as lists from "./lists.js";

const LOOK_AGAIN = 15_000; // ms between two looks at what is served
const at = (id) => document.getElementById(id);
const form = at("ask");

let asking = new AbortController();
let shownRun = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  at("user").classList.toggle("wrong", !asked.user);
  if (!asked.user) return at("user").focus();
  if (asked.surface === at("surface").options[0]?.value) asked.surface = "";
  address.write(asked);
  show();
  if (matchMedia("(pointer: coarse)").matches) document.activeElement.blur(); // puts a phone's keyboard away
  else if (document.activeElement === at("user")) at("user").select();
});
at("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is of the list
  at("answer").focus();
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.useKey(at("key").value.trim());
  at("key").value = "";
  at("key-form").hidden = true;
  start();
});
for (const name of ["surface", "compare"]) {
  at(name).addEventListener("change", () => at("user").value.trim() && form.requestSubmit());
}
window.addEventListener("popstate", show);
window.addEventListener("focus", look);
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    at("user").select();
  }
  if (event.key === "Escape") closeLike(event.target.closest?.("li.open"));
});
for (const kind of ["focusin", "mouseover"]) {
  document.addEventListener(kind, (event) => also(event.target.closest?.("[data-item]")));
}

/** Mark the same item in the other list. */
function also(item) {
  for (const one of document.querySelectorAll(".item.also")) one.classList.remove("also");
  if (!item) return;
  const same = `[data-item="${CSS.escape(item.dataset.item)}"]`;
  const found = document.querySelectorAll(same);
  if (found.length > 1) for (const one of found) one.classList.add("also");
}

async function look() {
  try {
    const found = await api.status(address.read().surface);
    at("status").replaceChildren(...draw.status(found));
    offerSurfaces(found.surfaces ?? [found.surface]);
    if (shownRun && found.live && found.live.run_id !== shownRun && !at("newer")) {
      const said = `Another run is live now, of ${draw.day(found.live.run_date)}.`;
      const newer = draw.note("good", said, ["Show its list", show]);
      newer.id = "newer";
      at("answer").prepend(newer);
    }
    return found;
  } catch (trouble) {
    at("status").replaceChildren(draw.badge("bad", trouble.status === 401 ? "A key is needed" : trouble.message));
    if (trouble.status === 401) askForKey();
    return null;
  }
}

function offerSurfaces(names) {
  const offered = [...at("surface").options].map(({ value }) => value);
  if (names.join() !== offered.join()) at("surface").replaceChildren(...names.map((name) => new Option(name, name)));
  at("surface").value = address.read().surface ?? names[0];
  at("surface-field").hidden = names.length < 2;
}

/** Fill in what a list can be compared with: the store's other runs, and the experiments' variants. */
async function offerComparisons(found) {
  const chosen = address.read().compare ?? "";
  const groups = [
    ["Runs", await otherRuns()],
    ["Variants", Object.entries(found?.experiments ?? {}).flatMap(variants)],
  ];
  at("compare").replaceChildren(new Option("nothing", ""));
  for (const [label, options] of groups) {
    const group = options.map(([value, text]) => new Option(text, value));
    if (group.length) at("compare").append(draw.h("optgroup", { label }, group));
  }
  offer(chosen);
}

/** None where nobody may ask for them. */
async function otherRuns() {
  const { runs } = await api.runs(address.read().surface).catch(() => ({ runs: [] }));
  const others = runs.filter(({ live }) => !live);
  return others.map(({ run_date: date, run_id: id }) => [`run:${date}/${id}`, `${draw.day(date)} · ${id}`]);
}

const variants = ([experiment, names]) =>
  names.map((name) => [`variant:${experiment}=${name}`, `${experiment}: ${name}`]);

/** Choose what the list is compared with, also where nobody has offered it. */
function offer(chosen) {
  const offered = [...at("compare").options].some(({ value }) => value === chosen);
  if (!offered) at("compare").append(new Option(chosen.replace(/^\w+:/, ""), chosen));
  at("compare").value = chosen;
}

function askForKey() {
  at("key-form").hidden = false;
  at("key").focus();
}

/** Show what the address says. */
async function show() {
  const asked = address.read();
  for (const name of ["user", "segment", "k"]) at(name).value = asked[name] ?? "";
  if (asked.surface) at("surface").value = asked.surface;
  offer(asked.compare ?? "");
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  shownRun = null;
  document.title = asked.user ? `${asked.user} · nightshift` : "What a customer sees · nightshift";
  at("answer").removeAttribute("aria-busy");
  if (!asked.user) return put(welcome());
  put(draw.loading());
  at("answer").setAttribute("aria-busy", "true");
  say(`Asking for the list of ${asked.user}.`);
  try {
    const [answer, other, history] = await Promise.all([
      api.list(asked, "", signal),
      asked.compare ? api.list(asked, asked.compare, signal).catch(keep) : null,
      api.history(asked, signal).catch(keep),
    ]);
    put(...answered(asked, answer, other, history));
    shownRun = answer.run_id;
    say(`${answer.items.length} items for ${asked.user}.`);
    if (asked.item) reopen(asked.item);
  } catch (trouble) {
    if (trouble.name === "AbortError") return;
    failed(trouble);
  }
  at("answer").removeAttribute("aria-busy");
}

/** A trouble as a value, so that what it is about may fail alone. */
function keep(trouble) {
  if (trouble.name === "AbortError") throw trouble;
  return trouble;
}

function answered(asked, answer, other, history) {
  const bought = new Map((history.items ?? []).map((entry) => [entry.item_id, entry]));
  const of = { bought, onopen: (row, entry) => open(row, entry) };
  const parts = [];
  const add = (tone, text) => parts.push(draw.note(tone, text));
  if (answer.degraded) add("warn", `Not this customer's own list. ${sentence(answer.degraded.reason)}`);
  if (other instanceof api.Trouble) add("bad", `There is nothing to compare with. ${other.message}`);
  if (!other || other instanceof api.Trouble) {
    const list = lists.listCard(answer, { title: `List of ${asked.user}`, ...of });
    return [...parts, draw.h("div", { className: "columns" }, list, lists.historyCard(history))];
  }
  const now = { answer, title: "Served now" };
  const then = { answer: other, title: compared(asked.compare) };
  const [before, after] = other.run_date < answer.run_date ? [then, now] : [now, then];
  return [
    ...parts,
    lists.differences(before.answer, after.answer),
    draw.h(
      "div",
      { className: "columns compared" },
      lists.listCard(before.answer, { title: before.title, after: after.answer, ...of }),
      lists.listCard(after.answer, { title: after.title, before: before.answer, ...of }),
      lists.historyCard(history),
    ),
  ];
}

/** What a list is compared with, in words. */
function compared(other) {
  const [, kind, value] = other.match(/^(\w+):(.*)$/s) ?? [];
  return kind === "variant" ? value.replace("=", ": ") : `Run of ${draw.day((value ?? other).split("/")[0])}`;
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function failed(trouble) {
  if (trouble.status === 401) askForKey();
  const titles = { 0: "No answer", 409: "This run cannot be read", 503: "There is nothing to show yet" };
  const title = titles[trouble.status] ?? "The service refused this";
  put(draw.nothing(title, trouble.message, ["Ask again", show]));
  say(trouble.message);
}

function welcome() {
  const unknown = () => {
    address.write({ user: "somebody new" });
    show();
  };
  const text =
    "Type a customer's id and press Enter: the list, why each item is in it, and what the customer bought before.";
  return draw.nothing("Whose list?", text, ["See what an unknown customer sees", unknown]);
}

/** Show items like one of a list below it; or close them again. `trail`: the items that led there. */
async function open(row, entry, trail = []) {
  const was = row.querySelector(".like");
  if (was && !trail.length && was.dataset.of === entry.item_id) return closeLike(row);
  for (const other of document.querySelectorAll("li.open")) if (other !== row) closeLike(other, false);
  const like = await likeIt(row, entry, trail);
  like.dataset.of = entry.item_id;
  const had = row.querySelector(".like");
  const inside = had?.contains(document.activeElement);
  had?.remove();
  row.append(like);
  if (inside) like.querySelector("button")?.focus();
  row.classList.add("open");
  const item = row.querySelector(".item");
  item.setAttribute("aria-expanded", "true");
  say(`Items like ${entry.title ?? entry.item_id}.`);
  address.write({ ...address.read(), item: item.dataset.item }, true);
}

async function likeIt(row, entry, trail) {
  try {
    const found = await api.similar(entry.item_id, address.read().surface);
    const back = trail.at(-1);
    const goOn = (next) => open(row, next, [...trail, entry]);
    return lists.likeThese(found, goOn, back && (() => open(row, back, trail.slice(0, -1))));
  } catch (trouble) {
    return lists.like(entry.title ?? entry.item_id, draw.h("p", { className: "soft" }, trouble.message));
  }
}

function closeLike(row, here = true) {
  if (!row) return;
  row.querySelector(".like")?.remove();
  row.classList.remove("open");
  const item = row.querySelector(".item");
  item.setAttribute("aria-expanded", "false");
  if (!here) return;
  item.focus();
  address.write({ ...address.read(), item: "" }, true);
}

function reopen(item) {
  document.querySelector(`[data-item="${CSS.escape(item)}"]`)?.click();
}

/** Show this; who was in what was shown before is put in front of it. */
function put(...parts) {
  const inside = at("answer").contains(document.activeElement);
  at("answer").replaceChildren(...parts);
  if (inside) at("answer").focus({ preventScroll: true });
}

function say(text) {
  at("said").textContent = text;
}

async function start() {
  show();
  const found = await look();
  await offerComparisons(found);
}

setInterval(() => document.visibilityState === "visible" && look(), LOOK_AGAIN);
start();
if (!address.read().user) at("user").focus();
