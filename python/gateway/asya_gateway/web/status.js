// The status of an envelope as a shape and a word; colour only repeats them.

import { el, svg } from "./dom.js";

export const STATUSES = ["pending", "running", "succeeded", "failed", "cancelled", "expired"];
export const isFinal = (status) => !["pending", "running"].includes(status);

const SHAPES = {
  pending: () => [svg("circle", { cx: 8, cy: 8, r: 5.25, "stroke-dasharray": "2.2 2" })],
  running: () => [svg("circle", { cx: 8, cy: 8, r: 5.25, opacity: 0.3 }), svg("path", { d: "M8 2.75A5.25 5.25 0 0 1 13.25 8", class: "turns" })],
  succeeded: () => [svg("path", { d: "M3 8.5 6.5 12 13 4.5" })],
  failed: () => [svg("path", { d: "M4 4l8 8M12 4l-8 8" })],
  cancelled: () => [svg("circle", { cx: 8, cy: 8, r: 5.25 }), svg("path", { d: "M4.4 11.6l7.2-7.2" })],
  expired: () => [svg("circle", { cx: 8, cy: 8, r: 5.25 }), svg("path", { d: "M8 5v3.2l2 1.6" })],
};

export function shape(status) {
  return svg("svg", { viewBox: "0 0 16 16", class: "shape", "aria-hidden": "true", width: 16, height: 16 }, ...(SHAPES[status] ?? SHAPES.pending)());
}

export function badge(status) {
  return el("span", { class: `badge ${status}` }, shape(status), status);
}

/** A bar of how far an envelope is. */
export function progressBar(percent, label = "Progress") {
  const inner = el("span", { class: "inner" });
  inner.style.width = `${percent}%`;
  return el("span", { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent }, inner);
}
