// What the page asks of the service. An answer that is not one is thrown as a Trouble, with a sentence for people.

const PATIENCE = 10_000; // ms
const KEY = "nightshift key";

/** Why there is no answer. `status`: of HTTP; 0 where the service was not reached. */
export class Trouble extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The API key is kept in this tab alone, and never in the address. */
export function useKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export const status = (surface, signal) => get("v1/status", { surface }, signal);

/** The runs that a tester may ask for, the latest first. */
export const runs = (surface, signal) => get("v1/runs", { surface }, signal);

/**
 * A user's list.
 * @param {{user: string, surface?: string, segment?: string, k?: string}} asked
 * @param {string} other whose list instead: `run:<run date>/<run id>`, `variant:<experiment>=<variant>`, or nothing
 */
export function list(asked, other, signal) {
  const [kind, value] = other ? split(other, ":") : ["", ""];
  const query = { k: asked.k, surface: asked.surface, segment: asked.segment, run: kind === "run" ? value : "" };
  const headers = kind === "variant" ? { "X-Nightshift-Override": value } : {};
  return get(`v1/users/${encodeURIComponent(asked.user)}/recommendations`, query, signal, headers);
}

/** What a user bought, the latest first. */
export const history = (asked, signal) =>
  get(`v1/users/${encodeURIComponent(asked.user)}/history`, { surface: asked.surface }, signal);

export const similar = (item, surface, signal) =>
  get(`v1/items/${encodeURIComponent(item)}/similar`, { k: 8, surface }, signal);

async function get(path, query, signal, headers = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  const key = sessionStorage.getItem(KEY);
  const patience = AbortSignal.timeout(PATIENCE);
  const address = asked.size ? `${path}?${asked}` : path;
  try {
    const answer = await fetch(address, {
      headers: { Accept: "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}), ...headers },
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    if (!answer.ok) throw new Trouble(answer.status, await detail(answer));
    return await answer.json();
  } catch (error) {
    if (error instanceof Trouble || error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Trouble(0, "The service has not answered in 10 seconds.");
    if (error instanceof SyntaxError) throw new Trouble(0, "What answered is not the lookup service: it sent no JSON.");
    throw new Trouble(0, "The service cannot be reached.");
  }
}

/** What a problem+json (RFC 9457) says. */
async function detail(answer) {
  try {
    return (await answer.json()).detail || answer.statusText;
  } catch {
    return `The service answered ${answer.status}.`;
  }
}

function split(text, mark) {
  const at = text.indexOf(mark);
  return [text.slice(0, at), text.slice(at + 1)];
}
