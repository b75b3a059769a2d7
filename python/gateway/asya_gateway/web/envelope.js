// One envelope: what it is, what happened to it, what it was given and what it gave. Live until its end.

import { address, envelopePath, get, post } from "./api.js";
import { asTable, el, fill, unseen } from "./dom.js";
import { whole } from "./flows.js";
import { follow } from "./follow.js";
import { ago, at, plural, span, time } from "./format.js";
import { drawing } from "./graph.js";
import { confirm, empty, loading, refused } from "./states.js";
import { badge, isFinal, progressBar, shape } from "./status.js";
import { extent, hopsOf } from "./timeline.js";
import { copy, textView, valueView } from "./values.js";

const TICK_MS = 500;
const MOST_HOPS = 300;
const MOST_EVENTS = 500;
const LATE_MS = [500, 1500, 4000];
/** After the end: sidecars tell progress in batches, so the last of it comes after. */

export function envelopeView({ id, session, announce, signal, go, may }) {
  const parts = Object.fromEntries(["head", "facts", "error", "children", "timeline", "flow", "given", "result", "history"].map((name) => [name, el("div", { class: "part" })]));
  const page = el("div", {}, ...Object.values(parts));
  const content = el("div", { "aria-busy": "true" }, loading());
  const mark = el("span", { class: "live off" });
  let envelope = null;
  let events = [];
  let flow = null;
  let isReading = false;
  let isStale = false;

  async function first() {
    try {
      await read();
      content.removeAttribute("aria-busy");
      fill(content, page);
      if (isFinal(envelope.status)) {
        word("ended");
        late();
      } else {
        follow(id, { changed, state: word, signal });
        const timer = setInterval(() => (isFinal(envelope.status) ? clearInterval(timer) : drawTimes()), TICK_MS);
        signal.addEventListener("abort", () => clearInterval(timer));
      }
    } catch (problem) {
      if (problem.name === "AbortError") return;
      content.removeAttribute("aria-busy");
      if (problem.status === 404) fill(content, empty("There is no such envelope", el("p", {}, "Its id may be mistyped, it may belong to somebody else, or it has been deleted: finished envelopes are kept for a limited time."), el("p", {}, el("a", { class: "button", href: "#/envelopes" }, "All envelopes"))));
      else fill(content, refused(problem, () => (fill(content, loading()), first())));
    }
  }

  async function read() {
    const [newer, news] = await Promise.all([get(envelopePath(id), { signal }), allEvents()]);
    const before = envelope;
    envelope = newer;
    events = news;
    draw(before);
  }

  async function allEvents() {
    const found = [...events];
    for (;;) {
      const { events: more } = await get(address(envelopePath(id, "/events"), { after: found.at(-1)?.seq ?? 0 }), { signal });
      found.push(...more);
      if (more.length < 500) return found;
    }
  }

  /** Reads again, once at a time; what comes meanwhile asks for one more. */
  async function changed() {
    if (isReading) {
      isStale = true;
      return;
    }
    isReading = true;
    try {
      do {
        isStale = false;
        await read();
      } while (isStale);
      if (isFinal(envelope.status)) late();
    } catch {
      // the stream comes back, and with it this
    } finally {
      isReading = false;
    }
  }

  let isLate = false;
  async function late() {
    if (isLate || at(envelope.finished_at) < Date.now() - 60_000) return;
    isLate = true;
    for (const pause of LATE_MS) {
      await new Promise((go) => setTimeout(go, pause));
      if (signal.aborted) return;
      await read().catch(() => {});
    }
  }

  function word(state) {
    const [text, kind] = { live: ["Live", ""], lost: ["Reconnecting …", " off"], ended: ["Ended", " off"] }[state];
    if (mark.textContent === text) return;
    mark.textContent = text;
    mark.className = `live${kind}`;
    if (state === "lost") announce("The connection is lost; reconnecting");
  }

  // ------------------------------------------------------------------------------------------------------------------ drawing

  function draw(before) {
    const { status } = envelope;
    if (!before || before.status !== status) {
      drawHead();
      drawError();
      if (before) announce(`The envelope is ${status}`);
    }
    drawFacts();
    drawTimes();
    drawHistory();
    if (!before) {
      drawGiven();
      drawFlow();
    } else paintFlow();
    if (!before || before.status !== status) drawResult();
    if (!before || before.children?.total !== envelope.children?.total || isFinal(status)) drawChildren();
  }

  function drawHead() {
    const { status, tool } = envelope;
    const canCancel = !isFinal(status);
    const canReplay = isFinal(status) && may("operate");
    fill(
      parts.head,
      el(
        "div",
        { class: "card summary" },
        el(
          "div",
          { class: "title" },
          badge(status),
          el("p", { class: "what" }, tool ?? "Published by hand"),
          el(
            "div",
            { class: "buttons" },
            canReplay ? el("button", { type: "button", onclick: replay }, "Replay …") : null,
            canCancel ? el("button", { type: "button", class: "danger-plain", onclick: cancel }, "Cancel …") : null,
          ),
        ),
        parts.facts,
      ),
    );
  }

  const going = el("div", {});
  const facts = el("dl", { class: "facts" });
  parts.facts.append(going, facts);
  let told = "";

  function drawFacts() {
    const { status, created_at, finished_at, deadline, flow: flowName, parent_id, replay_of, replayed_as, actor, progress, route } = envelope;
    fill(
      going,
      isFinal(status) ? null : el("div", { class: "going" }, progressBar(progress), el("span", {}, `${progress} %`), el("span", { class: "muted" }, actor ? `at ${actor}, ${plural(route.length, "hop")} known` : "waits in its first queue")),
    );
    const key = JSON.stringify([status, finished_at, parent_id, replayed_as]);
    if (key === told) return; // a link may have the focus
    told = key;
    fill(
      facts,
      fact("Created", el("time", { datetime: created_at, title: time(created_at) }, time(created_at))),
      isFinal(status) ? fact("Took", span(at(finished_at) - at(created_at))) : fact("Deadline", el("time", { datetime: deadline }, time(deadline))),
      flowName ? fact("Flow", el("a", { href: `#/flows/${encodeURIComponent(flowName)}` }, flowName)) : null,
      parent_id ? fact("Part of", link(parent_id)) : null,
      replay_of ? fact("Replay of", link(replay_of)) : null,
      replayed_as ? fact("Replayed as", link(replayed_as)) : null,
    );
  }

  function drawError() {
    const { error, status } = envelope;
    if (!error) {
      fill(parts.error);
      return;
    }
    const trace = el("div", {});
    const hasRecord = status === "failed" && error.code !== "children_failed";
    const ask = el("button", { type: "button", onclick: () => traceback(trace, ask) }, "Show traceback");
    fill(
      parts.error,
      el(
        "section",
        { class: "card error" },
        el("h2", { id: "error-title" }, shape(status), error.type ?? error.code),
        error.message ? el("pre", { class: "message" }, error.message) : null,
        el(
          "p",
          { class: "muted" },
          error.type ? ["Code ", el("span", { class: "code" }, error.code)] : null,
          error.actor ? [error.type ? " in " : "In ", el("a", { href: address("#/envelopes", { actor: error.actor, status: "failed" }) }, error.actor)] : null,
          error.attempt > 1 ? `, attempt ${error.attempt}` : null,
        ),
        hasRecord ? (may("operate") && session.records ? ask : el("p", { class: "muted" }, session.records ? "The traceback is in the record; it needs role operate." : "The traceback is in the record that error-end stored; this gateway does not read that storage.")) : null,
        trace,
      ),
    );
  }

  async function traceback(place, button) {
    button.disabled = true;
    try {
      const record = await get(envelopePath(id, "/record"), { signal });
      button.remove();
      fill(place, el("h3", {}, "Traceback"), record.error?.traceback ? textView(record.error.traceback, { name: "Traceback", announce }) : el("p", { class: "muted" }, "The record has none."), el("h3", {}, "Payload when it failed"), valueView(record.payload ?? null, { name: "Payload when it failed", announce }));
      place.querySelector("pre")?.focus();
    } catch (problem) {
      button.disabled = false;
      fill(place, refused(problem));
    }
  }

  const times = timesTable();
  parts.timeline.append(times.element);

  function drawTimes() {
    const hops = hopsOf(envelope, events);
    const now = Date.now();
    const isOpen = !isFinal(envelope.status);
    const extents = extent(envelope, hops, now);
    times.draw(hops.slice(-MOST_HOPS).map((hop) => hopRow(hop, { ...extents, now, isOpen })), {
      whole: span(extents.end - extents.begin),
      note: hops.length > MOST_HOPS ? `The newest ${MOST_HOPS} of ${plural(hops.length, "hop")}.` : hops.length ? "" : isOpen ? "No actor has taken it yet." : "No actor has told its times.",
    });
  }

  const history = historyTable();
  parts.history.append(history.element);

  function drawHistory() {
    history.draw(events);
  }

  async function drawGiven() {
    try {
      const told = await get(envelopePath(id, "/arguments"), { signal });
      if (!("arguments" in told)) return;
      fill(parts.given, el("section", { class: "card" }, el("h2", { id: "given-title" }, "Arguments"), valueView(told.arguments, { name: "Arguments", announce })));
    } catch {
      // the rest of the page tells what is wrong
    }
  }

  function drawResult() {
    const { result_ref, status } = envelope;
    const has = "result" in envelope;
    const large = !has && status === "succeeded" && result_ref;
    fill(
      parts.result,
      has || large
        ? el(
            "section",
            { class: "card" },
            el("h2", { id: "result-title" }, "Result"),
            has ? valueView(envelope.result, { name: "Result", announce }) : el("p", { class: "muted" }, "It is too large to be kept here; the end actor stored it as ", el("span", { class: "mono" }, result_ref.key ?? "several parts"), "."),
          )
        : null,
    );
  }

  async function drawChildren() {
    if (!envelope.children && !events.some((event) => event.state === "done")) return;
    try {
      const { envelopes, next } = await get(address("/envelopes", { parent: id, brief: true, limit: 100 }), { signal });
      if (!envelopes.length) return;
      const { children } = envelope;
      fill(
        parts.children,
        el(
          "section",
          { class: "card flush" },
          el("div", { class: "card-head pad" }, el("h2", { id: "parts-title" }, "Parts"), el("span", { class: "muted" }, children ? `${children.succeeded} of ${children.total} succeeded${children.failed ? `, ${children.failed} failed` : ""}` : plural(envelopes.length, "slice"), next ? "; the newest 100 are shown" : "")),
          el("ul", { class: "parts" }, ...envelopes.reverse().map((part) => el("li", {}, badge(part.status), link(part.id), part.error ? el("span", { class: "muted" }, part.error.type ?? part.error.code) : null))),
        ),
      );
    } catch {
      // the rest of the page tells what is wrong
    }
  }

  async function drawFlow() {
    if (!envelope.flow) return;
    try {
      flow = await get(`/flows/${encodeURIComponent(envelope.flow)}`, { signal });
    } catch {
      return; // it is not installed any more
    }
    paintFlow();
  }

  let painted = "";
  function paintFlow() {
    if (!flow) return;
    const graph = whole(flow.graph);
    const states = statesOf(envelope, events);
    const key = JSON.stringify([...states]);
    if (!graph.nodes.length || key === painted) return;
    painted = key;
    const marks = (node) => ({ state: states.get(node.actor) });
    const reached = graph.nodes.filter((node) => states.has(node.actor)).length;
    fill(
      parts.flow,
      el(
        "details",
        { class: "card flush", open: true },
        el("summary", {}, "Its way through the flow ", el("span", { class: "muted" }, `${reached} of ${plural(graph.nodes.length, "step")}`)),
        el("div", { class: "canvas", tabindex: 0, role: "region", "aria-label": "Its way through the flow" }, drawing(graph, { marks, label: `${envelope.flow}: ${reached} of ${plural(graph.nodes.length, "step")} reached; the timeline names them`, most: 680 })),
      ),
    );
  }

  // ------------------------------------------------------------------------------------------------------------------ doing

  async function cancel() {
    const done = await confirm({
      title: "Cancel this envelope?",
      body: el("p", {}, "Its status becomes cancelled at once. Hops that still wait in a queue do not run; a handler that runs now is not stopped."),
      yes: "Cancel the envelope",
      danger: true,
      act: () => post(envelopePath(id, "/cancel")),
    });
    if (done) await changed();
  }

  async function replay() {
    let from = envelope.status === "failed" ? "failed" : "start";
    let plan;
    try {
      plan = await planned(from);
    } catch (problem) {
      if (from === "start") {
        fill(parts.children, refused(problem));
        return;
      }
      from = "start";
      plan = await planned(from).catch((worse) => (fill(parts.children, refused(worse)), null));
      if (!plan) return;
    }
    const said = el("div", {});
    const choices = [["failed", "where it failed, with the payload it had there"], ["start", "at the start, with the first arguments"]].filter(([value]) => value === "start" || session.records);
    const choice = ([value, text]) => [
      el("input", { type: "radio", name: "from", id: `from-${value}`, value, checked: from === value, onchange: async () => ((from = value), tell()) }),
      el("label", { for: `from-${value}` }, text),
    ];
    async function tell() {
      try {
        const { envelope: next } = await planned(from);
        const { actors, current } = next.route;
        fill(said, el("p", {}, "Runs again, beginning with ", el("strong", {}, actors[current]), `: ${plural(actors.length - current, "hop")} of the route as it is known. What the handlers do outside of Asya happens a second time.`));
      } catch (problem) {
        fill(said, refused(problem));
      }
    }
    tell();
    const made = await confirm({
      title: "Replay this envelope?",
      body: el("div", {}, el("p", {}, "A new envelope is made, with an id of its own; this one stays as it is."), el("fieldset", { class: "choices" }, el("legend", {}, "Begin"), ...choices.map((each) => el("div", {}, ...choice(each)))), said),
      yes: "Replay",
      act: () => post(envelopePath(id, "/replay"), { from, if_replayed_as: envelope.replayed_as ?? null }),
    });
    if (made) go(`#/envelopes/${encodeURIComponent(made.id)}`);
  }

  const planned = (from) => post(envelopePath(id, "/replay"), { from, dry_run: true }, { signal });

  first();
  return {
    title: `Envelope ${id}`,
    element: el("div", {}, el("div", { class: "head long" }, el("div", {}, el("p", { class: "crumb" }, el("a", { href: "#/envelopes" }, "Envelopes")), el("div", { class: "id" }, el("h1", { tabindex: -1 }, unseen("Envelope "), id), el("button", { type: "button", class: "small", "aria-label": "Copy id", onclick: () => copy(id, announce) }, "Copy"))), el("div", { class: "state" }, mark)), content),
  };
}

// The frame of a table stays while its rows change: it may have the focus, or be scrolled.
function timesTable() {
  const rows = el("tbody", {});
  const whole = el("span", {});
  const note = el("p", { class: "muted pad" });
  const scroll = el(
    "div",
    { class: "scrolls", tabindex: 0, role: "region", "aria-labelledby": "timeline-title" },
    el(
      "table",
      { class: "hops" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col", class: "number" }, "Hop"),
          el("th", { scope: "col" }, "Actor"),
          el("th", { scope: "col", class: "number" }, "Queue"),
          el("th", { scope: "col", class: "number" }, "Handler"),
          el("th", { scope: "col", class: "bars" }, el("span", { class: "axis", "aria-hidden": "true" }, el("span", {}, "0"), whole), unseen("State")),
        ),
      ),
      rows,
    ),
  );
  const legend = el("span", { class: "legend", "aria-hidden": "true" }, el("i", { class: "queue" }), "queue", el("i", { class: "handler" }), "handler");
  return {
    element: el("section", { class: "card flush" }, el("div", { class: "card-head pad" }, el("h2", { id: "timeline-title" }, "Timeline"), legend), note, scroll),
    draw(shown, told) {
      fill(rows, ...shown);
      asTable(scroll.firstChild);
      whole.textContent = told.whole;
      note.textContent = told.note;
      note.hidden = !told.note;
      scroll.hidden = !shown.length;
    },
  };
}

function historyTable() {
  const title = el("summary", {});
  const rows = el("tbody", {});
  const heads = ["No.", "At", "What", "Actor", "Hop", "Attempt"].map((each) => el("th", { scope: "col" }, each));
  return {
    element: el(
      "details",
      { class: "card flush" },
      title,
      el("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": "Events" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads)), rows)),
    ),
    draw(events) {
      title.textContent = plural(events.length, "event");
      fill(rows, ...events.slice(-MOST_EVENTS).map(eventRow));
    },
  };
}

function eventRow(event) {
  const number = (value) => el("td", { class: "number" }, value === undefined ? "" : String(value));
  return el("tr", {}, number(event.seq), el("td", { class: "mono" }, event.at.slice(11, 23)), el("td", {}, said(event)), el("td", { class: "mono" }, event.actor ?? ""), number(event.hop), number(event.attempt));
}

const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
const link = (id) => el("a", { class: "mono", href: `#/envelopes/${encodeURIComponent(id)}` }, id);

function hopRow(hop, { begin, end, now, isOpen }) {
  const { sent, began, ended, state } = hop;
  const isRunning = isOpen && ended === null;
  const queueEnd = began ?? (isRunning ? now : null);
  const handlerEnd = ended ?? (isRunning && began !== null && state !== "received" ? now : null);
  const queue = sent !== null && queueEnd !== null ? Math.max(0, queueEnd - sent) : null;
  const handler = began !== null && handlerEnd !== null ? Math.max(0, handlerEnd - began) : null;
  const bar = (from, to, kind) => {
    if (from === null || to === null) return null;
    const piece = el("i", { class: kind });
    piece.style.left = `min(${(100 * (from - begin)) / (end - begin)}%, 100% - 2px)`;
    piece.style.width = `${(100 * Math.max(0, to - from)) / (end - begin)}%`;
    return piece;
  };
  const told = { received: "waits for its handler", running: "handler runs", retrying: "failed, tried again", done: "done" }[state];
  return el(
    "tr",
    {},
    el("td", { class: "number" }, String(hop.hop)),
    el("td", { class: "mono" }, hop.entry, hop.attempt > 1 ? el("span", { class: "code" }, `attempt ${hop.attempt}`) : null, state === "done" ? null : el("span", { class: "muted note-state" }, ` ${told}`)),
    el("td", { class: "number" }, span(queue)),
    el("td", { class: "number" }, span(handler)),
    el("td", { class: "bars" }, el("span", { class: `track${isRunning ? " open" : ""}`, "aria-hidden": "true" }, bar(sent, queueEnd, "queue"), bar(began, handlerEnd, "handler")), unseen(told)),
  );
}

/** Actor → done, running or failed, as far as its sidecars have told. */
function statesOf(envelope, events) {
  const states = new Map();
  const hops = hopsOf(envelope, events);
  for (const hop of hops) states.set(hop.entry, hop.state === "done" || isFinal(envelope.status) ? "done" : "running");
  if (envelope.error?.actor && envelope.status === "failed") {
    const failed = hops.findLast((hop) => hop.actor === envelope.error.actor);
    states.set(failed?.entry ?? envelope.error.actor, "failed");
  }
  return states;
}

function said(event) {
  if (event.kind === "progress") return `${event.state}${event.late ? ", told after the end" : `, ${event.progress} %`}`;
  if (event.kind === "late") return `report of ${event.status}, after the end`;
  return event.status;
}
