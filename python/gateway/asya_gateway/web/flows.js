// Flows as graphs, with what their actors have at the moment, and the same as a list.

import { get } from "./api.js";
import { el, fill } from "./dom.js";
import { plural } from "./format.js";
import { caption, drawing } from "./graph.js";
import { empty, loading, refused } from "./states.js";

const EVERY_MS = 3000;

export function flowsView({ id, signal, announce }) {
  const content = el("div", { "aria-busy": "true" }, loading());
  let flows = [];
  let counts = new Map();
  let chosen = null;

  async function first() {
    try {
      const [told] = await Promise.all([get("/flows", { signal }), count()]);
      flows = told.flows;
      content.removeAttribute("aria-busy");
      draw();
    } catch (problem) {
      if (problem.name === "AbortError") return;
      content.removeAttribute("aria-busy");
      fill(content, refused(problem, () => (fill(content, loading()), first())));
    }
  }

  async function count() {
    const { actors } = await get("/actors", { signal });
    const newer = new Map(actors.map((actor) => [actor.name, actor]));
    const isOther = JSON.stringify([...newer.values()]) !== JSON.stringify([...counts.values()]);
    counts = newer;
    return isOther;
  }

  const numbers = (node) => {
    const has = counts.get(node.actor.split(":")[0]) ?? {};
    return [["running", has.running ?? 0], ["failed", has.failed ?? 0]];
  };

  function draw() {
    if (!flows.length) {
      fill(
        content,
        empty(
          "No flow is installed here",
          el("p", {}, "A flow is a Python function that calls handlers. Compile it, and give its tools file to this gateway."),
          el("pre", { class: "shell" }, "asya flow compile flow.py --output compiled"),
        ),
      );
      return;
    }
    const flow = flows.find((each) => each.name === id) ?? (id ? null : flows[0]);
    const list =
      flows.length > 1 || !flow
        ? el(
            "nav",
            { "aria-label": "Flows" },
            el("ul", { class: "choices-of" }, ...flows.map((each) => el("li", {}, el("a", { href: `#/flows/${encodeURIComponent(each.name)}`, "aria-current": each === flow ? "true" : null }, each.name)))),
          )
        : null;
    if (!flow) {
      fill(content, el("div", {}, list, empty(`There is no flow ${id}`, el("p", {}, "It may have another name now."))));
      return;
    }
    const graph = whole(flow.graph);
    const picture = el("div", { class: "canvas", tabindex: 0, role: "region", "aria-label": `Graph of ${flow.name}` });
    const details = el("div", { class: "details", "aria-live": "polite" });
    const table = el("tbody", {});

    function choose(node) {
      chosen = node === null || chosen === node.id ? null : node.id;
      paint();
      picture.querySelector(`[data-node="${CSS.escape(node.id)}"]`)?.focus();
    }

    function paint() {
      const focused = document.activeElement?.dataset?.node;
      fill(picture, drawing(graph, { marks: (node) => ({ counts: numbers(node) }), choose, chosen, label: `Graph of ${flow.name}` }));
      if (focused) picture.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
      const node = graph.nodes.find((each) => each.id === chosen);
      fill(details, node ? about(node, numbers(node)) : el("p", { class: "muted" }, "Choose a node to see what it does and which envelopes it has."));
      fill(table, ...graph.nodes.map((each) => listed(each, graph, numbers(each))));
    }

    repaint = paint;
    fill(
      content,
      el(
        "div",
        {},
        list,
        el(
          "div",
          {},
          el(
            "section",
            { class: "card flow" },
            el(
              "div",
              { class: "card-head" },
              el("h2", { id: "flow-name" }, flow.name),
              el("span", { class: "muted" }, `${plural(graph.nodes.filter((node) => node.kind === "handler").length, "handler")}, ${plural(graph.nodes.filter((node) => node.kind !== "handler").length, "router")}`),
              el("a", { class: "button", href: `#/envelopes?flow=${encodeURIComponent(flow.name)}` }, "Its envelopes"),
            ),
            el("div", { class: "stage" }, picture, details),
          ),
          el(
            "section",
            { class: "card flush" },
            el("h2", { id: "as-list", class: "pad" }, "The same as a list"),
            el(
              "div",
              { class: "scrolls", tabindex: 0, role: "region", "aria-labelledby": "as-list" },
              el(
                "table",
                {},
                el("thead", {}, el("tr", {}, ...["Step", "Actor", "Leads to", "Running", "Failed"].map((each, index) => el("th", { scope: "col", class: index > 2 ? "number" : null }, each)))),
                table,
              ),
            ),
          ),
        ),
      ),
    );
    paint();
  }

  let repaint = () => {};
  const timer = setInterval(async () => {
    if (document.hidden || signal.aborted) return;
    try {
      if (await count()) repaint();
      lost(null);
    } catch (problem) {
      if (problem.name !== "AbortError") lost(problem);
    }
  }, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  const state = el("div", { class: "state" }, el("span", { class: "live" }, "Live"));
  let told = "";
  function lost(problem) {
    if ((problem?.message ?? "") === told) return;
    told = problem?.message ?? "";
    fill(state, problem ? el("span", { class: "live off" }, told) : el("span", { class: "live" }, "Live"));
    announce(told || "The gateway answers again");
  }
  first();
  return {
    title: id || "Flows",
    element: el("div", {}, el("div", { class: "head" }, el("h1", { tabindex: -1 }, "Flows"), el("span", { class: "muted" }, "Numbers are of the last 24 hours"), state), content),
  };
}

/** The graph, whatever a hand-written file leaves out. */
export function whole(graph) {
  const nodes = (graph.nodes ?? []).map((node) => ({ kind: "handler", name: node.id, actor: node.id, code: [], ...node }));
  const known = new Set(nodes.map((node) => node.id));
  const edges = (graph.edges ?? []).filter((edge) => known.has(edge.from) && known.has(edge.to)).map((edge) => ({ label: "next", back: false, ...edge }));
  return { nodes, edges };
}

const KINDS = { handler: "Handler", start: "Start of the flow", end: "End of the flow", if: "Condition", while: "Loop", for: "Loop over items", seq: "Changes of the payload" };

function about(node, numbers) {
  const { name, code } = caption(node);
  return [
    el("h3", {}, name || KINDS[node.kind] || node.kind),
    el(
      "dl",
      { class: "facts narrow" },
      fact("Kind", KINDS[node.kind] ?? node.kind),
      fact("Actor", el("span", { class: "mono" }, node.actor)),
      node.handler ? fact("Handler", el("span", { class: "mono" }, node.handler)) : null,
      node.line ? fact(node.end_line > node.line ? "Lines" : "Line", node.end_line > node.line ? `${node.line}–${node.end_line}` : String(node.line)) : null,
      ...numbers.map(([status, number]) => fact(status === "running" ? "Running" : "Failed", number ? el("a", { href: `#/envelopes?actor=${encodeURIComponent(node.actor.split(":")[0])}&status=${status}` }, plural(number, "envelope")) : "none")),
    ),
    code.length ? el("pre", { tabindex: 0, role: "region", "aria-label": "Code" }, code.join("\n")) : null,
  ];
}

const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

function listed(node, graph, numbers) {
  const { name, code } = caption(node);
  const ways = graph.edges.filter((edge) => edge.from === node.id);
  const called = (id) => {
    const target = caption(graph.nodes.find((each) => each.id === id));
    return target.name || target.code.join("; ");
  };
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name || el("code", {}, code.join("; "))),
    el("td", { class: "mono" }, node.actor),
    el("td", {}, ways.length ? el("ul", { class: "ways" }, ...ways.map((edge) => el("li", {}, edge.label === "next" ? null : el("span", { class: "code" }, edge.label), " ", called(edge.to), edge.back ? " (back)" : ""))) : "–"),
    ...numbers.map(([, number]) => el("td", { class: "number" }, String(number))),
  );
}
