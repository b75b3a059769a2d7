// Builds the page's elements. Text becomes text nodes and nothing else, so no value of an envelope can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `given`: attributes; `on…` functions are listeners; null, undefined and false leave one out. */
export function el(name, given = {}, ...children) {
  return filled(document.createElement(name), given, children);
}

/** The same for SVG. */
export function svg(name, given = {}, ...children) {
  return filled(document.createElementNS(SVG, name), given, children);
}

/** Puts `children` in place of what `node` holds. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return node;
}

const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

/** Says what the parts of a table are: on a narrow screen it is laid out as something else, and browsers then forget it. */
export function asTable(part) {
  for (const each of [part, ...part.querySelectorAll("*")]) {
    const role = each.tagName === "TH" ? (each.scope === "row" ? "rowheader" : "columnheader") : ROLES[each.tagName];
    if (role) each.setAttribute("role", role);
  }
  return part;
}

/** Text for who hears the page instead of seeing it. */
export function unseen(text) {
  return el("span", { class: "unseen" }, text);
}

function filled(node, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return fill(node, ...children);
}
