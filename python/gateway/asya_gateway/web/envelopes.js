// The list of envelopes: filters, pages, and what is new since.

import { address, get } from "./api.js";
import { asTable, el, fill, unseen } from "./dom.js";
import { ago, at, plural, seconds, span, time } from "./format.js";
import { empty, loading, refused } from "./states.js";
import { badge, isFinal, progressBar, STATUSES } from "./status.js";

const PAGE = 50;
const EVERY_MS = 3000;
const SPANS = { "15m": [900, "Last 15 minutes"], "1h": [3600, "Last hour"], "24h": [86400, "Last 24 hours"], "7d": [604800, "Last 7 days"] };
const FILTERS = ["status", "tool", "flow", "actor", "code", "text", "within"];
const NAMED = { flow: "flow", actor: "actor", code: "error" };

export function envelopesView({ query, announce, signal, go }) {
  const asked = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const cursor = query.get("cursor") ?? "";
  const isFiltered = FILTERS.some((name) => asked[name]);
  const results = el("div", { "aria-busy": "true" }, loading());
  const fresh = el("div", { class: "fresh" });
  const rows = new Map();
  let body = null;
  let waiting = [];

  const here = (changes) => address("#/envelopes", { ...asked, ...changes });
  const filter = (changes) => go(here(changes), { replace: true });
  const request = (more) => {
    const { within, ...rest } = asked;
    const since = SPANS[within] ? new Date(Date.now() - SPANS[within][0] * 1000).toISOString() : "";
    return get(address("/envelopes", { ...rest, since, brief: true, limit: PAGE, ...more }), { signal });
  };

  async function first() {
    try {
      const told = await request({ cursor });
      results.removeAttribute("aria-busy");
      draw(told);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      results.removeAttribute("aria-busy");
      fill(results, refused(problem, () => (fill(results, loading()), first())));
    }
  }

  function draw({ envelopes, next }) {
    rows.clear();
    if (!envelopes.length) {
      fill(results, nothing(isFiltered || cursor, () => go("#/envelopes", { replace: true })));
      return;
    }
    body = el("tbody", {});
    for (const each of envelopes) add(each, "append");
    fill(
      results,
      el(
        "div",
        { class: "card flush" },
        asTable(
          el(
            "table",
            { class: "list" },
            el("caption", { class: "unseen" }, "Envelopes, newest first"),
            el("thead", {}, el("tr", {}, ...["Status", "Envelope", "Tool", "Where", "Created", "Took"].map((each) => el("th", { scope: "col" }, each)))),
            body,
          ),
        ),
      ),
      el(
        "nav",
        { class: "pages", "aria-label": "Pages" },
        cursor ? el("a", { class: "button", href: here({}) }, "Newest") : null,
        el("span", { class: "muted" }, `${plural(envelopes.length, "envelope")} on this page`),
        next ? el("a", { class: "button", href: here({ cursor: next }), rel: "next" }, "Older") : null,
      ),
    );
  }

  function add(envelope, how) {
    const row = el("tr", {});
    rows.set(envelope.id, { row, envelope });
    paint(row, envelope);
    body[how](row);
  }

  async function look() {
    if (document.hidden || cursor || signal.aborted) return;
    try {
      const { envelopes } = await request({});
      if (signal.aborted) return;
      if (!rows.size) {
        if (envelopes.length) draw({ envelopes });
        return;
      }
      const known = envelopes.filter((each) => rows.has(each.id));
      for (const each of known) {
        const shown = rows.get(each.id);
        if (shown.envelope.updated_at !== each.updated_at || shown.envelope.status !== each.status) {
          shown.envelope = each;
          paint(shown.row, each);
        }
      }
      const news = envelopes.filter((each) => !rows.has(each.id) && at(each.created_at) >= newest());
      if (news.length !== waiting.length) {
        waiting = news;
        tell();
      }
      lost(false);
    } catch (problem) {
      if (problem.name !== "AbortError") lost(problem);
    }
  }

  const newest = () => Math.max(...[...rows.values()].map(({ envelope }) => at(envelope.created_at)));

  function tell() {
    const text = waiting.length >= PAGE ? `${PAGE} or more new` : `${waiting.length} new`;
    fill(fresh, waiting.length ? el("button", { type: "button", class: "pill", onclick: takeNews }, text) : null);
    if (waiting.length) announce(`${text} envelopes`);
  }

  function takeNews() {
    if (waiting.length >= PAGE) {
      go(here({}), { replace: true });
      return;
    }
    for (const each of waiting.reverse()) add(each, "prepend");
    waiting = [];
    tell();
    body.querySelector("a")?.focus();
  }

  let isLost = false;
  function lost(problem) {
    if (!!problem === isLost) return;
    isLost = !!problem;
    fill(state, problem ? el("span", { class: "live off" }, problem.message) : liveMark(cursor));
    announce(problem ? problem.message : "The gateway answers again");
  }

  const state = el("div", { class: "state" }, liveMark(cursor));
  const timer = setInterval(look, EVERY_MS);
  const clock = setInterval(() => rows.forEach(({ row, envelope }) => repaintTimes(row, envelope)), 10_000);
  signal.addEventListener("abort", () => (clearInterval(timer), clearInterval(clock)));
  first();

  return {
    title: "Envelopes",
    element: el(
      "div",
      {},
      el("div", { class: "head" }, el("h1", { tabindex: -1 }, "Envelopes"), state),
      filters(asked, filter, signal),
      chips(asked, here),
      fresh,
      results,
    ),
  };
}

const liveMark = (cursor) => (cursor ? el("span", { class: "live off" }, "Older page") : el("span", { class: "live" }, "Live"));

function filters(asked, filter, signal) {
  const tools = el("select", { id: "tool", onchange: (event) => filter({ tool: event.target.value }) }, el("option", { value: "" }, "Any tool"));
  if (asked.tool) tools.append(el("option", { value: asked.tool, selected: true }, asked.tool));
  get("/tools", { signal })
    .then((told) => {
      const names = told.tools.map((tool) => tool.name).filter((name) => name !== asked.tool);
      tools.append(...names.map((name) => el("option", { value: name }, name)));
    })
    .catch(() => {}); // the list says it
  let timer;
  const search = el("input", {
    id: "text",
    type: "search",
    value: asked.text,
    placeholder: "Id, actor or error",
    maxlength: 200,
    oninput: (event) => (clearTimeout(timer), (timer = setTimeout(() => filter({ text: event.target.value.trim() }), 350))),
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return el(
    "form",
    { class: "filters", role: "search", "aria-label": "Filters", onsubmit: (event) => (event.preventDefault(), filter({ text: search.value.trim() })) },
    el(
      "fieldset",
      { class: "segments" },
      el("legend", { class: "unseen" }, "Status"),
      ...["", ...STATUSES].map((status) => [
        el("input", {
          type: "radio",
          name: "status",
          id: `status-${status || "all"}`,
          value: status,
          class: "unseen",
          checked: asked.status === status,
          onchange: () => filter({ status }),
        }),
        el("label", { for: `status-${status || "all"}` }, status ? status.charAt(0).toUpperCase() + status.slice(1) : "All"),
      ]),
    ),
    el(
      "div",
      { class: "fields" },
      el("div", {}, el("label", { for: "tool" }, "Tool"), tools),
      el(
        "div",
        {},
        el("label", { for: "within" }, "Created"),
        el(
          "select",
          { id: "within", onchange: (event) => filter({ within: event.target.value }) },
          el("option", { value: "" }, "At any time"),
          ...Object.entries(SPANS).map(([value, [, text]]) => el("option", { value, selected: asked.within === value }, text)),
        ),
      ),
      el("div", { class: "wide" }, el("label", { for: "text" }, "Search"), search),
    ),
  );
}

/** Filters that other views lead here with; each can be taken away. */
function chips(asked, here) {
  const given = Object.keys(NAMED).filter((name) => asked[name]);
  if (!given.length) return null;
  return el(
    "ul",
    { class: "chips", "aria-label": "More filters" },
    ...given.map((name) =>
      el("li", { class: "chip" }, `${NAMED[name]}: ${asked[name]} `, el("a", { href: here({ [name]: "" }), "aria-label": `Remove filter ${NAMED[name]}` }, "×")),
    ),
  );
}

function paint(row, envelope) {
  const { id, status, tool, actor, error, created_at, progress } = envelope;
  row.className = status;
  fill(
    row,
    el("td", { class: "c-status" }, badge(status)),
    el("td", { class: "c-id" }, el("a", { class: "mono", href: `#/envelopes/${encodeURIComponent(id)}` }, id)),
    el("td", { class: "c-tool" }, tool ?? el("span", { class: "muted" }, "by hand")),
    el("td", { class: "c-where" }, ...where({ status, actor, error, progress })),
    el("td", { class: "c-created" }, el("time", { datetime: created_at, title: time(created_at) }, ago(created_at))),
    el("td", { class: "c-took" }, took(envelope)),
  );
  asTable(row);
}

function where({ status, actor, error, progress }) {
  if (error) return [el("span", { class: "code" }, error.type ?? error.code), error.actor ? el("span", { class: "muted" }, ` in ${error.actor}`) : null];
  if (status === "running") return [progressBar(progress), el("span", { class: "muted" }, ` ${actor ?? ""}`)];
  return [el("span", { class: "muted" }, status === "pending" ? "in the queue" : "–")];
}

const took = ({ status, created_at, finished_at }) =>
  isFinal(status) ? span(at(finished_at) - at(created_at)) : fillTook(created_at);

const fillTook = (created_at) => el("span", { class: "muted" }, seconds(Date.now() - at(created_at)), unseen(" so far"));

function repaintTimes(row, envelope) {
  const shown = row.querySelector("time");
  if (shown) shown.textContent = ago(envelope.created_at);
  if (!isFinal(envelope.status)) fill(row.querySelector(".c-took"), took(envelope));
}

function nothing(isFiltered, clear) {
  if (isFiltered) return empty("No envelope matches", el("p", {}, "Nothing that is kept passes these filters."), el("button", { type: "button", onclick: clear }, "Clear all filters"));
  return empty(
    "Nothing has been called yet",
    el("p", {}, "Each call of a tool is an envelope, and shows here the moment it is accepted."),
    el("pre", { class: "shell" }, "asya mcp list\nasya mcp call TOOL --name=value"),
  );
}
