// A flow's graph as SVG. dagre places it; everything else is here.

import { svg } from "./dom.js";
import { Graph, layout } from "./vendor/dagre.esm.js";

const FONT = { name: '600 13px system-ui, sans-serif', code: "12px ui-monospace, monospace" };
const LINE = 17;
const MOST = 38;
const SMALLEST = 0.7;
const pen = document.createElement("canvas").getContext("2d");

/**
 * The drawing of `graph` ({nodes, edges}).
 *
 * `marks`: node → {state?, counts?}; a state is done, running or failed, counts is a list of [status, number].
 * `choose`: called with a node; without it the drawing is a picture. `most`: its height, as far as it stays readable.
 */
export function drawing(graph, { marks = () => ({}), choose = null, chosen = null, label, most = Infinity }) {
  const boxes = new Map(graph.nodes.map((node) => [node.id, box(node, marks(node))]));
  const placed = place(graph, boxes);
  const size = placed.graph();
  const order = [...boxes.values()].sort((a, b) => placed.node(a.node.id).y - placed.node(b.node.id).y || placed.node(a.node.id).x - placed.node(b.node.id).x);
  const scale = Math.min(1, Math.max(SMALLEST, most / size.height));
  const picture = svg(
    "svg",
    {
      class: choose ? "graph" : "graph way",
      viewBox: `0 0 ${Math.ceil(size.width)} ${Math.ceil(size.height)}`,
      width: Math.ceil(size.width * scale),
      role: choose ? "group" : "img",
      "aria-label": label,
    },
    svg("defs", {}, arrow("arrow", "arrowhead"), arrow("arrow-taken", "arrowhead taken")),
    svg("g", {}, ...graph.edges.map((edge, index) => line(edge, placed.edge(ends(edge, index)), marks, graph))),
    svg("g", {}, ...order.map((each) => shape(each, placed.node(each.node.id), { choose, isChosen: each.node.id === chosen }))),
  );
  picture.style.minWidth = `${Math.ceil(size.width * SMALLEST)}px`;
  return picture;
}

/** What a node is called, and the lines of code below. */
export function caption(node) {
  if (node.kind === "handler") return { name: node.name, code: [] };
  if (node.kind === "start" || node.kind === "end") return { name: node.kind, code: [] };
  return { name: "", code: node.code.length ? node.code : [node.name] };
}

function box(node, mark) {
  const { name, code } = caption(node);
  const lines = code.slice(0, 4).map((each) => (each.length > MOST ? `${each.slice(0, MOST - 1)}…` : each));
  if (code.length > 4) lines[3] = `… ${code.length - 3} more lines`;
  const counts = (mark.counts ?? []).filter(([, number]) => number > 0);
  const widths = [measured(name, FONT.name), ...lines.map((each) => measured(each, FONT.code)), counts.length * 82];
  const isEdge = node.kind === "start" || node.kind === "end";
  const rows = (name ? 1 : 0) + lines.length + (counts.length ? 1.45 : 0);
  const slant = branches(node) ? 14 : 0;
  return { node, name, lines, counts, mark, slant, width: Math.max(...widths, 40) + (isEdge ? 26 : 30) + 2 * slant, height: rows * LINE + (isEdge ? 11 : 19) };
}

const branches = (node) => ["if", "while", "for", "try"].includes(node.kind);

function place(graph, boxes) {
  const placed = new Graph({ multigraph: true });
  placed.setGraph({ rankdir: "TB", nodesep: 34, edgesep: 22, ranksep: 40, marginx: 10, marginy: 10 });
  for (const { node, width, height } of boxes.values()) placed.setNode(node.id, { width, height });
  graph.edges.forEach((edge, index) => {
    const text = shownLabel(edge);
    const { v, w, name } = ends(edge, index);
    placed.setEdge(v, w, { width: text ? measured(text, FONT.code) + 10 : 0, height: text ? LINE : 0, labelpos: "c" }, name);
  });
  layout(placed);
  return placed;
}

// A way back is placed as if it led down, so that a loop stays upright.
const ends = (edge, index) => ({ v: edge.back ? edge.to : edge.from, w: edge.back ? edge.from : edge.to, name: String(index) });
const shownLabel = (edge) => (edge.label === "next" ? "" : edge.label);

function line(edge, { points, x, y }, marks, graph) {
  const way = edge.back ? [...points].reverse() : points;
  const text = shownLabel(edge);
  const by = (id) => marks(graph.nodes.find((node) => node.id === id) ?? {}).state;
  const isTaken = by(edge.from) === "done" && by(edge.to) !== undefined;
  const width = measured(text, FONT.code) + 8;
  return svg(
    "g",
    { class: `edge${edge.back ? " back" : ""}${isTaken ? " taken" : ""}`, "aria-hidden": "true" },
    svg("path", { d: curve(way), "marker-end": `url(#${isTaken ? "arrow-taken" : "arrow"})` }),
    text ? svg("rect", { x: x - width / 2, y: y - 9, width, height: 18, rx: 4 }) : null,
    text ? svg("text", { x, y: y + 4, "text-anchor": "middle" }, text) : null,
  );
}

function curve(points) {
  const [first, ...rest] = points;
  let path = `M${xy(first)}`;
  rest.forEach((point, index) => {
    const next = rest[index + 1];
    path += next ? `Q${xy(point)} ${xy({ x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 })}` : `L${xy(point)}`;
  });
  return path;
}

const xy = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;

function shape({ node, name, lines, counts, mark, slant, width, height }, { x, y }, { choose, isChosen }) {
  const left = x - width / 2;
  const top = y - height / 2;
  let row = top + (node.kind === "start" || node.kind === "end" ? 18 : 22);
  const texts = [];
  if (name) texts.push(svg("text", { x, y: row, class: "node-name", "text-anchor": "middle" }, name));
  if (name) row += LINE;
  for (const each of lines) {
    texts.push(svg("text", { x, y: row, class: "node-code", "text-anchor": "middle" }, each));
    row += LINE;
  }
  const outline = slant
    ? svg("path", { class: "outline", d: `M${left + slant} ${top}H${left + width - slant}L${left + width} ${y}L${left + width - slant} ${top + height}H${left + slant}L${left} ${y}Z` })
    : svg("rect", { class: "outline", x: left, y: top, width, height, rx: node.kind === "start" || node.kind === "end" ? height / 2 : 9 });
  const classes = ["node", node.kind, mark.state ?? "", choose ? "choosable" : "", isChosen ? "chosen" : ""].filter(Boolean).join(" ");
  const pick = () => choose(node);
  const active = choose
    ? {
        tabindex: 0,
        role: "button",
        "data-node": node.id,
        "aria-pressed": isChosen ? "true" : "false",
        "aria-label": [KINDS[node.kind] ?? "Router", name, ...lines, ...counts.map(([status, number]) => told(number, status))].filter(Boolean).join(" "),
        onclick: pick,
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          pick();
        },
      }
    : {};
  // The blanks part the lines for who hears them.
  return svg("g", { class: classes, ...active }, outline, ...[...texts, ...tallies(counts, x, row + 3)].flatMap((each) => [each, " "]));
}

const KINDS = { handler: "Handler" };
const told = (number, status) => `${number > 999 ? "999+" : number} ${status}`;

function tallies(counts, x, y) {
  return counts.map(([status, number], index) => {
    const left = x - (counts.length * 82 - 6) / 2 + index * 82;
    return svg(
      "g",
      { class: `tally ${status}`, "aria-hidden": "true" },
      svg("rect", { x: left, y: y - 13, width: 76, height: 18, rx: 9 }),
      svg("text", { x: left + 38, y, "text-anchor": "middle" }, told(number, status)),
    );
  });
}

function arrow(id, className) {
  return svg("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, svg("path", { d: "M0 .8 7.2 4 0 7.2Z", class: className }));
}

function measured(text, font) {
  pen.font = font;
  return pen.measureText(text).width;
}
