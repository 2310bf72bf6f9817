// One session as its events tell it. Pure: events in, what can be drawn out.

const OUTCOMES = { "ah.window.skipped.v1": "skipped", "ah.window.dropped.v1": "dropped", "ah.window.lost.v1": "lost" };

export class SessionModel {
  constructor() {
    this.clear();
  }

  /** Forgets everything, as a withdrawal asks. */
  clear() {
    this.ids = new Set();
    this.entries = []; // windows and other accounted time, by start
    this.judges = []; // { judge, proof, threshold, max, answers: {word: n}, last, latencies, and the times of max and last }
    this.episodes = new Map(); // number -> { number, start, end, open }
    this.alerts = []; // { id, start, text }
    this.end = 0; // seconds
    this.heuristic = false;
    this.withdrawn = false;
  }

  /** Takes an event; false if it was known already. */
  apply(event) {
    if (this.ids.has(event.id)) return false;
    this.ids.add(event.id);
    const { data, type } = event;
    this.end = Math.max(this.end, data.span?.end_secs ?? 0);
    switch (type) {
      case "ah.session.started.v1":
        this.heuristic = data.kind === "heuristic";
        for (const { judge, proof, threshold } of data.judges) Object.assign(this.#judge(judge), { proof, threshold });
        break;
      case "ah.window.judged.v1":
        this.heuristic = data.kind === "heuristic";
        for (const { judge, max } of data.session_maxima) {
          const known = this.#judge(judge);
          if (data.span.end_secs > known.maxAt) Object.assign(known, { max, maxAt: data.span.end_secs });
        }
        this.#window(event, data.label);
        break;
      case "ah.window.skipped.v1":
      case "ah.window.dropped.v1":
      case "ah.window.lost.v1":
        this.#window(event, data.reason === "tail" ? "tail" : OUTCOMES[type]);
        break;
      case "ah.alert.raised.v1":
        this.alerts.push({ id: event.id, start: data.span.start_secs, text: data.text });
        break;
      case "ah.episode.opened.v1":
        if (!this.episodes.has(data.episode)) this.episodes.set(data.episode, episode(data, true));
        break;
      case "ah.episode.closed.v1":
        this.episodes.set(data.episode, episode(data, false));
        break;
      case "ah.session.withdrawn.v1":
        this.clear();
        this.withdrawn = true;
        break;
    }
    return true;
  }

  #judge(name) {
    let judge = this.judges.find((one) => one.judge === name);
    if (!judge) {
      judge = { judge: name, proof: null, threshold: null, max: null, maxAt: -1, answers: {}, last: null, lastAt: -1, latencies: [] };
      this.judges.push(judge);
    }
    return judge;
  }

  #window(event, outcome) {
    const { data } = event;
    const entry = {
      id: event.id, outcome, start: data.span.start_secs, end: data.span.end_secs, window: data.window, reason: data.reason ?? null,
      detail: data.detail ?? null, flags: data.quality?.flags ?? null, partial: data.quality?.extent === "partial",
      votes: (data.votes ?? []).map(slim),
    };
    for (const vote of entry.votes) {
      const judge = this.#judge(vote.judge);
      judge.answers[vote.answer] = (judge.answers[vote.answer] ?? 0) + 1;
      if (entry.end > judge.lastAt) Object.assign(judge, { last: vote, lastAt: entry.end });
      if (vote.latency !== null && vote.answer !== "not_asked") {
        judge.latencies.push(vote.latency);
        if (judge.latencies.length > 200) judge.latencies.shift();
      }
    }
    // Verdicts come nearly in order, so the place is near the end.
    let at = this.entries.length;
    while (at > 0 && this.entries[at - 1].start > entry.start) at--;
    this.entries.splice(at, 0, entry);
  }

  /** Index of the first entry that ends after `secs`; where windows overlap, of the one before at most. */
  firstAfter(secs) {
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle].end > secs) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Index of the entry at `secs`; -1 where there is none. The later one where windows overlap. */
  at(secs) {
    let found = -1;
    for (let i = this.firstAfter(secs); i < this.entries.length && this.entries[i].start <= secs; i++) found = i;
    return found;
  }

  /** Where an entry's drawing ends: where the next begins, if they overlap. */
  shownEnd(index) {
    const { end } = this.entries[index];
    const next = this.entries[index + 1];
    return next && next.start > this.entries[index].start ? Math.min(end, next.start) : end;
  }
}

function episode({ episode, span }, open) {
  return { number: episode, start: span.start_secs, end: span.end_secs, open };
}

/** What is kept of a vote: a day has 17,280 windows. */
function slim({ judge, answer, abstention, flag, latency_ms, score, cues }) {
  return { judge, answer, abstention, flag, latency: latency_ms ?? null, p: score?.p_yes ?? cues?.index ?? null, cues: cues?.top.slice(0, 3) ?? null };
}

export function median(values) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
