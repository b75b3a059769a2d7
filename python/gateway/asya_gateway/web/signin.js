// Sign-in by a pasted key or token. The gateway keeps it in a cookie that this page cannot read.

import { get, post } from "./api.js";
import { el, fill } from "./dom.js";
import { refused } from "./states.js";

const ASKED = {
  apiKey: ["API key", "Whoever runs this gateway makes one with: asya key new NAME"],
  oauth: ["Access token", "One that your authorization server issued for this gateway"],
};

export function signInView({ session, signedIn }) {
  const [label, hint] = ASKED[session.auth] ?? ASKED.apiKey;
  const told = el("div", {});
  const input = el("input", {
    id: "key",
    name: "key",
    type: "password",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "off",
    "aria-describedby": "key-hint",
  });
  const button = el("button", { type: "submit", class: "primary" }, "Sign in");
  if (session.hasEnded) fill(told, el("p", { class: "note warn", role: "alert" }, "Your session has ended. Sign in again."));

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      await post("/login", { key: input.value });
      const kept = await get("/login");
      if (kept.principal) {
        signedIn(kept);
        return;
      }
      fill(told, refused({ message: "The browser did not keep the sign-in.", hint: "Open this page over https or on localhost, and allow its cookies" }));
    } catch (problem) {
      fill(told, refused(problem.code === "unauthenticated" ? { message: `This ${label.replace(/^Access/, "access")} is not valid.`, hint: "" } : problem));
      input.select();
      input.focus();
    }
    button.disabled = false;
  }

  return el(
    "form",
    { class: "signin", onsubmit: submit, "aria-labelledby": "signin-title" },
    el("img", { src: "/static/icon.svg", alt: "", width: 44, height: 44 }),
    el("h1", { id: "signin-title", tabindex: -1 }, "Sign in to Asya"),
    told,
    el("label", { for: "key" }, label),
    input,
    el("p", { class: "muted", id: "key-hint" }, hint),
    button,
    el("p", { class: "muted fine" }, "Kept for 12 hours at most, in a cookie that no script can read."),
  );
}
