// Events as they happen (SSE). The browser resumes by Last-Event-ID; where it gives up, a new stream begins after the last id.

const TYPES = [
  "ah.session.started.v1", "ah.window.judged.v1", "ah.window.skipped.v1", "ah.window.dropped.v1", "ah.window.lost.v1",
  "ah.session.paused.v1", "ah.session.resumed.v1", "ah.session.withdrawn.v1", "ah.alert.raised.v1", "ah.episode.opened.v1",
  "ah.episode.closed.v1", "ah.source.lost.v1", "ah.source.restored.v1", "ah.judge.changed.v1", "ah.session.ended.v1",
];
const RETRY_MS = 3_000;

export class Live {
  #path; #after; #onEvent; #onState; #source = null; #timer = null; #closed = false;

  /** `after`: the seq to begin after; null: now. `onState` is told true (there) or false (away). */
  constructor({ path, after = null, onEvent, onState }) {
    this.#path = path;
    this.#after = after;
    this.#onEvent = onEvent;
    this.#onState = onState;
    this.#open();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#source?.close();
  }

  #open() {
    if (this.#closed) return;
    const source = new EventSource(this.#after === null ? this.#path : `${this.#path}?after=${encodeURIComponent(this.#after)}`);
    this.#source = source;
    source.onopen = () => this.#onState(true);
    source.onerror = () => {
      if (this.#closed) return;
      this.#onState(false);
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#open(), RETRY_MS);
    };
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        if (message.lastEventId) this.#after = message.lastEventId;
        this.#onEvent(JSON.parse(message.data));
      });
    }
  }
}
