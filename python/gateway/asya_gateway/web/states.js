// What stands where content is not there: loading, empty, refused. And the dialog before something is done.

import { el, fill } from "./dom.js";

export const loading = () => el("div", { class: "loading", "aria-hidden": "true" }, ...Array.from({ length: 5 }, () => el("div", { class: "bone" })));

export function empty(title, ...more) {
  return el("div", { class: "empty" }, el("h2", {}, title), ...more);
}

export function refused(problem, again) {
  return el(
    "div",
    { class: "note bad", role: "alert" },
    el("p", {}, el("strong", {}, problem.message), problem.hint ? ` ${sentence(problem.hint)}` : ""),
    again ? el("button", { type: "button", class: "plain", onclick: again }, "Try again") : null,
  );
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/**
 * Asks before `act`; gives what it gave, or null for no. The button that does nothing has the focus.
 * `act` may throw a Problem: it is shown, and one may try again.
 */
export function confirm({ title, body, yes, danger = false, act }) {
  return new Promise((resolve) => {
    let outcome = null;
    const told = el("div", {});
    const keep = el("button", { type: "button", class: "plain", autofocus: true, onclick: () => dialog.close() }, "Go back");
    const go = el("button", { type: "button", class: danger ? "danger" : "primary", onclick: run }, yes);
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title", onclose: () => (dialog.remove(), resolve(outcome)) },
      el("h2", { id: "dialog-title" }, title),
      el("div", { class: "said" }, body),
      told,
      el("div", { class: "buttons" }, keep, go),
    );
    async function run() {
      go.disabled = true;
      try {
        outcome = await act();
        dialog.close();
      } catch (problem) {
        fill(told, refused(problem));
        go.disabled = false;
      }
    }
    document.body.append(dialog);
    dialog.showModal();
    keep.focus();
  });
}
