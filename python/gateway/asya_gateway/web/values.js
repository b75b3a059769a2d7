// JSON values as coloured text, with copy and download. At most 256 KiB are shown.

import { WrittenNumber } from "./api.js";
import { el, fill } from "./dom.js";
import { bytes } from "./format.js";

const MOST = 256 * 1024;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)/g;

/** A section with `value` as JSON. `name`: for the file and for who hears it. */
export function valueView(value, { name, announce }) {
  const text = written(value, "");
  return textView(text, { name, announce, ending: "json", paint: text.length <= MOST });
}

/** The same for plain text. */
export function textView(text, { name, announce, ending = "txt", paint = false }) {
  const shown = text.length > MOST ? text.slice(0, MOST) : text;
  const pre = el("pre", { tabindex: 0, role: "region", "aria-label": name });
  if (paint) fill(pre, ...painted(shown));
  else pre.textContent = shown;
  return el(
    "div",
    { class: "value" },
    el(
      "div",
      { class: "tools" },
      text.length > MOST ? el("span", { class: "muted" }, `First ${bytes(MOST)} of ${bytes(new Blob([text]).size)}`) : null,
      el("button", { type: "button", class: "small", "aria-label": `Copy ${name}`, onclick: () => copy(text, announce) }, "Copy"),
      el("button", { type: "button", class: "small", "aria-label": `Download ${name}`, onclick: () => download(text, name, ending) }, "Download"),
    ),
    pre,
  );
}

export async function copy(text, announce) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
  } catch {
    announce("The browser does not allow to copy here; select the text instead");
  }
}

function download(text, name, ending) {
  const url = URL.createObjectURL(new Blob([text]));
  el("a", { href: url, download: `${name.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** JSON with two spaces, numbers as they were written. */
function written(value, indent) {
  if (value instanceof WrittenNumber) return value.source;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}  `;
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((each) => deeper + written(each, deeper))
    : Object.entries(value).map(([key, each]) => `${deeper}${JSON.stringify(key)}: ${written(each, deeper)}`);
  const [open, close] = isList ? "[]" : "{}";
  return parts.length ? `${open}\n${parts.join(",\n")}\n${indent}${close}` : open + close;
}

function* painted(text) {
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > end) yield text.slice(end, match.index);
    const kind = match[1] ? (match[2] ? "key" : "string") : match[3] ? "word" : "number";
    yield el("span", { class: `json-${kind}` }, match[1] ?? match[0]);
    if (match[2]) yield match[2];
    end = match.index + match[0].length;
  }
  yield text.slice(end);
}
