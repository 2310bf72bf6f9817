// Scenes to look at: an empty service, a busy one, a long session. All invented.

import { Mock } from "./server.mjs";
import { Invented } from "./data.mjs";

export async function empty(port) {
  return new Mock().listen(port);
}

/** Several sessions in every state; the events of the first two are told. */
export async function busy(port) {
  const mock = await empty(port);
  const run = (options, steps, state) => {
    const one = mock.add(new Invented(options));
    if (steps) mock.tell([one.started()]);
    for (let i = 0; i < steps; i++) {
      mock.tell(one.next());
      if (i === 20) mock.tell(one.away(17));
      if (i === 40) mock.tell(one.paused(33));
    }
    if (state) one.session.state = state;
    return one;
  };
  run({ id: "s-old", source: "camera-2", seed: 4, begin: "2026-01-02T07:00:00Z" }, 30);
  mock.tell(mock.sessions.get("s-old").ended());
  run({ id: "s-cues", source: "rtsp://cam-7.example.org/stream", kind: "heuristic", seed: 9, begin: "2026-01-02T09:20:00Z" }, 25, "away");
  run({ id: "s-wait", source: "browser-3f2a", begin: "2026-01-02T09:40:00Z" }, 0);
  Object.assign(mock.sessions.get("s-wait").session, { state: "awaiting_consent", consent: null, started: null });
  run({ id: "s-paused", source: "browser-77c1", seed: 12, begin: "2026-01-02T09:30:00Z" }, 14, "paused");
  const main = run({ id: "s-1", source: "room-1", seed: 3, begin: "2026-01-02T09:00:00Z" }, 90);
  mock.feedback.set(main.alerts[0].id, { verdict: "confirmed", note: "Talked about the appointment.", by: "Ada", at: "2026-01-02T09:10:00Z" });
  return mock;
}

/** A session of `windows` windows; 17,280 are a day. */
export async function long(port, windows = 17_280) {
  const mock = await empty(port);
  const one = mock.add(new Invented({ id: "s-day", source: "ward-4", seed: 5, begin: "2026-01-01T09:00:00Z", rate: 0.01 }));
  const events = [one.started()];
  for (let i = 0; i < windows; i++) events.push(...one.next());
  mock.tell(events);
  return mock;
}

/** A participant's session and its link. */
export function participant(mock, { kind = "panel", state = "awaiting_consent", consent = null } = {}) {
  const one = mock.add(new Invented({ id: "s-join", source: "browser-1", kind, begin: "2026-01-02T09:00:00Z" }));
  Object.assign(one.session, { state, consent, started: null });
  mock.participants.set("ahw_join", one.id);
  return { one, url: `${mock.url}/join/ahw_join` };
}
