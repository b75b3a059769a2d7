// From an envelope's events to its hops: how long each waited in a queue, how long its handler ran. Arithmetic only.

import { at } from "./format.js";

/**
 * Hops in order: {hop, actor, entry, attempt, state, sent, began, ended}, times in milliseconds or null where nobody told them.
 *
 * `sent`: the hop before was done; `began`: the handler was called; `ended`: its outputs were confirmed. Times are by the clocks of the
 * actors' machines, so a difference between two machines may come out below zero; it is shown as zero.
 */
export function hopsOf(envelope, events) {
  const hops = new Map();
  for (const event of events) {
    if (event.kind !== "progress" || event.hop === undefined) continue;
    const key = `${event.hop} ${event.attempt ?? 1}`;
    const hop = hops.get(key) ?? { hop: event.hop, attempt: event.attempt ?? 1, actor: event.actor, entry: envelope.route[event.hop] ?? event.actor, times: {}, state: event.state };
    Object.assign(hop.times, event.times ? mapped(event.times) : { [event.state]: at(event.at) });
    if (rank(event.state) >= rank(hop.state)) hop.state = event.state;
    hops.set(key, hop);
  }
  const sorted = [...hops.values()].sort((a, b) => a.hop - b.hop || a.attempt - b.attempt);
  sorted.forEach((hop, index) => {
    const before = sorted[index - 1];
    const { received, running, retrying, done } = hop.times;
    hop.sent = sentAt(envelope, hop, before) ?? null;
    hop.began = running ?? received ?? null;
    hop.ended = done ?? retrying ?? null;
  });
  return sorted;
}

// What came before a hop is known for the first of a call or a replay, for another attempt, and after the hop before it.
function sentAt(envelope, hop, before) {
  if (before === undefined) return hop.hop === 0 || envelope.replay_of ? at(envelope.created_at) : null;
  if (before.hop === hop.hop) return before.times.retrying;
  return before.hop === hop.hop - 1 ? before.times.done : null;
}

/** Where the time of an envelope begins and ends on the picture; it never ends before the last thing known. */
export function extent(envelope, hops, now) {
  const begin = at(envelope.created_at);
  const known = hops.flatMap(({ sent, began, ended }) => [sent, began, ended]).filter((each) => each !== null);
  const end = Math.max(envelope.finished_at ? at(envelope.finished_at) : now, ...known, begin + 1);
  return { begin: Math.min(begin, ...known), end };
}

const ORDER = ["received", "running", "retrying", "done"];
const rank = (state) => ORDER.indexOf(state);
const mapped = (times) => Object.fromEntries(Object.entries(times).map(([state, text]) => [state, at(text)]));
