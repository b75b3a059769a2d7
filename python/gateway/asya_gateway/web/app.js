// Which view is shown, who is signed in, what is announced. The state of a view is in the fragment of the address, so that it can be shared.

import { get, onSignedOut, remove } from "./api.js";
import { el, fill } from "./dom.js";
import { envelopeView } from "./envelope.js";
import { envelopesView } from "./envelopes.js";
import { flowsView } from "./flows.js";
import { signInView } from "./signin.js";
import { empty, refused } from "./states.js";

const VIEWS = { envelopes: envelopesView, envelope: envelopeView, flows: flowsView };
const main = document.getElementById("main");
let session = null;
let shown = null;

/** `#/envelopes/ID?x=y` → view, id and parameters. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/").map(decoded);
  const name = rest.length && first === "envelopes" ? "envelope" : first || "envelopes";
  return { name, id: rest.join("/"), query: new URLSearchParams(query ?? "") };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Tells who hears the page. */
function announce(text) {
  const live = document.getElementById("live");
  live.textContent = "";
  requestAnimationFrame(() => (live.textContent = text));
}

function show() {
  const { name, id, query } = place();
  shown?.stop.abort();
  const stop = new AbortController();
  const isSame = shown !== null && shown.name === name && shown.id === id;
  shown = { name, id, stop };
  for (const link of document.querySelectorAll("#views a")) {
    const isHere = link.dataset.view === name || (link.dataset.view === "envelopes" && name === "envelope");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!session.principal) {
    fill(main, signInView({ session, signedIn }));
    document.title = "Sign in · Asya";
    main.querySelector("input")?.focus();
    return;
  }
  const view = VIEWS[name];
  const context = { id, query, session, announce, signal: stop.signal, go, may: (role) => session.principal.roles.includes(role) };
  if (!view) {
    fill(main, empty("There is nothing at this address", el("p", {}, el("a", { href: "#/envelopes" }, "All envelopes"))));
    return;
  }
  const { title, element } = view(context);
  document.title = `${title} · Asya`;
  const focused = isSame ? document.activeElement?.id : null;
  const caret = focused ? document.activeElement.selectionStart : null;
  fill(main, element);
  if (!isSame) {
    window.scrollTo(0, 0);
    if (hasMoved) main.querySelector("h1")?.focus();
  } else if (focused) {
    const again = document.getElementById(focused);
    again?.focus();
    if (typeof caret === "number" && again?.type === "search") again.setSelectionRange(caret, caret);
  }
}

let hasMoved = false;

/** Goes to a view; `replace` leaves no step in the history. */
function go(address, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, "", address);
    show();
  } else location.hash = address;
}

function who() {
  const principal = session?.principal;
  document.getElementById("views").hidden = !principal;
  fill(
    document.getElementById("who"),
    principal ? el("span", { class: "chip", title: "Namespace" }, session.namespace) : null,
    principal && session.auth !== "none" ? el("span", { class: "name", title: `Role ${principal.roles.at(-1)}` }, principal.name) : null,
    principal && session.auth !== "none" ? el("button", { type: "button", class: "small", onclick: signOut }, "Sign out") : null,
  );
}

function signedIn(told) {
  session = told;
  who();
  show();
  watchTools();
  main.querySelector("h1")?.focus();
}

async function signOut() {
  await remove("/login").catch(() => {});
  session = { auth: session.auth };
  who();
  show();
}

onSignedOut(() => {
  if (!session?.principal) return;
  session = { auth: session.auth, hasEnded: true };
  who();
  show();
});

/** The tools' files are looked at by the gateway; what is wrong with them is told above every view. */
async function watchTools() {
  const banner = document.getElementById("banner");
  while (session?.principal) {
    try {
      const { problem } = await get("/tools");
      const text = problem ?? "";
      if (banner.dataset.text !== text) {
        banner.dataset.text = text;
        fill(banner, text ? el("div", { class: "note warn", role: "alert" }, el("p", {}, el("strong", {}, "The tools’ files are refused, older ones are in force. "), text)) : null);
      }
    } catch {
      // the view says what is wrong
    }
    await new Promise((go) => setTimeout(go, 30_000));
  }
}

async function start() {
  try {
    session = await get("/login");
  } catch (problem) {
    fill(main, refused(problem, start));
    setTimeout(start, 3000);
    return;
  }
  who();
  show();
  if (session.principal) watchTools();
}

window.addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  hasMoved = true;
  if (session) show();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment names the view
  main.focus();
  main.scrollIntoView();
});
start();
