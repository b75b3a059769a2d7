// The gateway's REST API. Every answer that is no success is a `Problem`.

/** What the gateway said no with: RFC 9457, or that it did not answer. */
export class Problem extends Error {
  constructor(told) {
    super(told.detail);
    this.code = told.code;
    this.status = told.status;
    this.hint = told.hint ?? "";
  }
}

/** A number that JavaScript cannot hold exactly, as it was written. */
export class WrittenNumber {
  constructor(source) {
    this.source = source;
  }
}

let signedOut = () => {};

/** Calls `listener` whenever a request finds that nobody is signed in any more. */
export function onSignedOut(listener) {
  signedOut = listener;
}

export const get = (path, options) => send("GET", path, options);
export const post = (path, body, options) => send("POST", path, { ...options, body });
export const remove = (path) => send("DELETE", path);

/** `/path?name=value` of those that have one. */
export function address(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}

export const envelopePath = (id, rest = "") => `/envelopes/${encodeURIComponent(id)}${rest}`;

async function send(method, path, { body, signal } = {}) {
  const request = { method, signal, headers: {}, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let answer, text;
  try {
    answer = await fetch(path, request);
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ code: "unreachable", status: 0, detail: "The gateway does not answer", hint: "The page tries again by itself." });
  }
  let told = null;
  try {
    told = text ? JSON.parse(text, exact) : null;
  } catch {
    throw new Problem({ code: "no_json", status: answer.status, detail: `The answer is not the gateway's (HTTP ${answer.status})`, hint: "Look at what stands between it and you." });
  }
  if (answer.ok) return told;
  if (answer.status === 401 && path !== "/login") signedOut();
  throw new Problem({ code: "unknown", detail: `HTTP ${answer.status}`, ...told, status: answer.status });
}

function exact(key, value, context) {
  const isAltered = typeof value === "number" && context?.source !== undefined && !same(value, context.source);
  return isAltered ? new WrittenNumber(context.source) : value;
}

// 1.0 and 1e3 are the same number written otherwise; 2^64 and 0.1000000000000000055 are not.
function same(value, source) {
  if (String(value) === source) return true;
  const digits = (text) => text.toLowerCase().replace(/e.*$/, "").replace(/[-.]/g, "").replace(/^0+|0+$/g, "");
  return digits(String(value)) === digits(source);
}
