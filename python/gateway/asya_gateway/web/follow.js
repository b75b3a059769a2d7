// One envelope's stream. The browser comes back by itself after a cut; where it gives up, this does it, after the last event that came.

import { envelopePath } from "./api.js";

const FIRST_PAUSE_MS = 1000;
const LAST_PAUSE_MS = 15_000;

/** Calls `changed` after each event, and `state` with live, lost or ended; until `signal` aborts or the envelope has ended. */
export function follow(id, { changed, state, signal }) {
  let source = null;
  let last = 0;
  let pause = FIRST_PAUSE_MS;
  let timer = null;

  function open() {
    source = new EventSource(envelopePath(id, `/stream${last ? `?after=${last}` : ""}`));
    source.onopen = () => {
      pause = FIRST_PAUSE_MS;
      state("live");
    };
    for (const kind of ["status", "progress", "final"]) source.addEventListener(kind, heard);
    source.onerror = () => {
      if (source.readyState === EventSource.CONNECTING) {
        state("lost");
        return;
      }
      again();
    };
  }

  function heard(event) {
    last = Number(event.lastEventId);
    if (event.type === "final") close("ended");
    changed();
  }

  function again() {
    source.close();
    state("lost");
    timer = setTimeout(() => (changed(), open()), pause); // reading tells why: a session that has ended looks like a cut from here
    pause = Math.min(pause * 2, LAST_PAUSE_MS);
  }

  function close(word) {
    source.close();
    clearTimeout(timer);
    state(word);
  }

  signal.addEventListener("abort", () => (source.close(), clearTimeout(timer)));
  open();
}
