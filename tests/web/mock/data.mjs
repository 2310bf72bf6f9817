// Invented sessions: events as `schemas/` describes them. Nothing here was measured on anybody.

export const JUDGES = ["v1", "v2", "v3"];
export const PANEL_ADVISORY =
  "Advisory, not a diagnosis: a panel of models estimates whether ambivalence or hesitancy shows; it errs, and a person has to decide.";
export const CUES_ADVISORY =
  "Advisory, not a diagnosis: an uncalibrated index of hesitation cues in speech and picture; it errs, and a person has to decide.";

/** The same numbers each time. */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const LABELS = { present: "present", absent: "absent", undecided: "undecided" };

/** One session: tells events, and keeps what the service would say of it. */
export class Invented {
  constructor({ id, source, kind = "panel", seed = 1, begin = "2026-01-02T09:00:00Z", rate = 0.04, ...rest }) {
    Object.assign(this, { id, source, kind, begin: Date.parse(begin), rate });
    this.judges = kind === "panel" ? JUDGES : ["cues"];
    this.random = dice(seed);
    this.count = 0;
    this.at = 0;
    this.index = 0;
    this.continuity = 0;
    this.episode = this.opened = null;
    this.episodes = 0;
    this.alerts = [];
    this.maxima = this.judges.map((judge) => ({ judge, max: "undecided" }));
    this.labels = { vote_of_max: "undecided", max_of_vote: "undecided" };
    this.coverage = {
      judged: { total_secs: 0, present_secs: 0, absent_secs: 0, undecided_secs: 0 },
      skipped: { total_secs: 0, gate_secs: 0, early_stop_secs: 0, paused_secs: 0 },
      dropped: { total_secs: 0, overload_secs: 0, shutdown_secs: 0 },
      lost: { total_secs: 0, outage_secs: 0, missing_media_secs: 0, all_abstained_secs: 0 },
      tail_secs: 0,
    };
    this.windows = { present: 0, absent: 0, undecided: 0, skipped: 0, dropped: 0, lost: 0 };
    this.last = null;
    this.session = {
      id, source, kind: "webrtc", state: "live", purpose: "health_care", basis: null,
      consent: { at: begin, by: "participant", text_version: "1", language: "en", reference: null },
      created: begin, started: begin, ended: null, rule: "vote_of_max", judgement: kind, ...rest,
    };
  }

  /** As GET /v1/sessions/{id} says it. */
  json() {
    const head = {
      ...this.session, away_because: this.session.state === "away" ? "no frame for 3 s" : null, created_by: "Ada",
      last_window: this.last, open_episode: this.opened, alerts: this.alerts.length,
    };
    return this.session.started === null || this.session.state === "withdrawn" ? head : { ...head, ...this.books() };
  }

  /** What `ah.session.ended.v1` says, so far. */
  books() {
    const { total_secs } = this.coverage.judged;
    const label = this.labels.vote_of_max;
    const chance = 1 - 0.97 ** (total_secs / 5);
    const count = (judge, answer) => Math.round((answer === "present" ? this.windows.present : this.windows.absent) * (judge === "v3" ? 0.9 : 1));
    const usage = { requests: 9, retries: 0, waited_secs: 9.5, answers_with_tokens: 9, prompt_tokens: 14724, prompt_audio_tokens: 585, prompt_video_tokens: 13500, completion_tokens: 72 };
    const what = this.kind === "panel" ? "A/H" : "Hesitation cues";
    return {
      ...this.heuristic(),
      verdict: `${what} ${label} (both vote_of_max and max_of_vote). Judged ${total_secs} s of ${this.at} s; nothing is said of the other ${this.at - total_secs} s.`,
      advisory: this.kind === "panel" ? PANEL_ADVISORY : CUES_ADVISORY, label, labels: this.labels, early_stop: false,
      judges: this.maxima.map(({ judge, max }) => ({ judge, max, present: count(judge, "present"), absent: count(judge, "absent"), not_asked: 0, abstained: { deadline: this.windows.lost }, covered_secs: total_secs, usage })),
      elapsed_secs: this.at, coverage: this.coverage, coverage_ratio: this.at ? total_secs / this.at : 0, windows: this.windows,
      alarms: { episodes: this.episodes, alerts: this.alerts.filter((a) => a.data.kind === "episode").length, per_hour: total_secs ? (this.episodes * 3600) / total_secs : null },
      saturation: label !== "present" || chance <= 0.9 ? null : {
        windows: total_secs / 5, assumed_false_positive_rate: 0.03, chance_of_present: chance,
        text: `Long session: were only 3 % of windows called present by mistake, a session of ${total_secs / 5} windows would be present with ${(chance * 100).toFixed(1)} % anyway. Its label says little, read the alarms per hour.`,
      },
    };
  }

  event(type, span, data) {
    const [start_secs, end_secs] = span;
    return {
      specversion: "1.0", id: `${this.id}.${this.count++}`, source: `/ahwatch/${encodeURIComponent(this.source)}`, type, subject: this.id,
      time: new Date(this.begin + end_secs * 1000 + 900).toISOString(), datacontenttype: "application/json",
      dataschema: `urn:ahwatch:schema:${type}`,
      data: { session: this.id, source: this.source, continuity: this.continuity, span: { start_secs, end_secs }, ...data },
    };
  }

  heuristic() {
    return this.kind === "heuristic" ? { calibrated: false } : {};
  }

  started() {
    const judges = this.judges.map((judge) => ({ judge, proof: this.kind === "panel" ? (judge === "v2" ? "unproven" : "proven") : null, threshold: null }));
    return this.event("ah.session.started.v1", [0, 0], {
      kind: this.kind, ...this.heuristic(), rule: "vote_of_max", judges, early_stop: false, min_coverage: 0.8, open_windows: 1, clear_windows: 2, cooldown_secs: 60,
    });
  }

  /** The events of the next five seconds. */
  next(outcome = this.draw()) {
    const span = [this.at, this.at + 5];
    const window = { continuity: this.continuity, index: this.index++ };
    this.at += 5;
    if (outcome in LABELS) return this.judged(outcome, span, window);
    this.windows[outcome]++;
    this.coverage[outcome].total_secs += 5;
    const more = {
      skipped: { reason: "gate", detail: "gate speech: 0.10 s of speech, 0.25 s needed", gate: null },
      dropped: { reason: "overload" },
      lost: { reason: "all_abstained", votes: this.judges.map((judge) => this.vote(judge, "abstained")) },
    }[outcome];
    this.coverage[outcome][{ skipped: "gate_secs", dropped: "overload_secs", lost: "all_abstained_secs" }[outcome]] += 5;
    return [this.event(`ah.window.${outcome}.v1`, span, { window, quality: null, ...more })];
  }

  draw() {
    const die = this.random();
    const held = this.episode ? 0.55 : this.rate;
    if (die < held) return "present";
    if (die > 0.985) return "lost";
    if (die > 0.975) return "dropped";
    if (die > 0.94) return "skipped";
    if (die > 0.9) return this.kind === "panel" ? "undecided" : "absent";
    return "absent";
  }

  vote(judge, answer) {
    const panel = this.kind === "panel";
    const p = answer === "present" ? 0.55 + 0.44 * this.random() : 0.02 + 0.43 * this.random();
    const abstained = answer === "abstained";
    return {
      judge, answer, attempts: panel ? 1 : 0, base_url: panel ? "https://gpu-1.example.org/v1" : null,
      abstention: abstained ? { reason: panel ? "deadline" : "insufficient_evidence", detail: panel ? "no answer within 20 s" : "0.4 s of speech" } : null,
      cues: panel || abstained ? null : {
        index: p, version: "cue-baseline-v0",
        top: [{ name: "long_pause", value: 3 * p, unit: "s", contribution: 0.4 * p }, { name: "speech_rate", value: 4.1 - p, unit: "1/s", contribution: 0.2 * p }, { name: "head_away", value: null, unit: "", contribution: null }],
      },
      flag: panel && judge === "v2" ? "unproven" : null,
      latency_ms: panel ? 700 + 900 * this.random() : 4 + this.random(),
      score: panel && !abstained ? { p_yes: p, label_mass: 0.99 } : null,
      tokens: panel && !abstained ? { prompt: 1636, prompt_audio: 65, prompt_video: 1500, completion: 8 } : null,
    };
  }

  judged(label, span, window) {
    const n = this.judges.length;
    const odd = Math.floor(this.random() * n);
    const votes = this.judges.map((judge, i) => {
      if (label === "undecided") return this.vote(judge, ["present", "absent", "abstained"][i % 3]);
      const other = label === "present" ? "absent" : "present";
      const dissents = n > 1 && i === odd && this.random() < 0.05;
      return this.vote(judge, dissents ? other : label);
    });
    this.windows[label]++;
    this.coverage.judged.total_secs += 5;
    this.coverage.judged[`${label}_secs`] += 5;
    votes.forEach((vote, i) => {
      if (vote.answer === "present") this.maxima[i] = { judge: vote.judge, max: "present" };
      else if (vote.answer === "absent" && this.maxima[i].max === "undecided") this.maxima[i] = { judge: vote.judge, max: "absent" };
    });
    const before = this.labels.vote_of_max;
    const count = (max) => this.maxima.filter((entry) => entry.max === max).length;
    const majority = count("present") * 2 > n ? "present" : count("absent") * 2 > n ? "absent" : "undecided";
    this.labels = { vote_of_max: majority, max_of_vote: this.windows.present ? "present" : "absent" };
    const second = this.random() < 0.05;
    this.last = this.event("ah.window.judged.v1", span, {
      window, kind: this.kind, ...this.heuristic(), label, votes, session_labels: { ...this.labels }, session_maxima: this.maxima.map((m) => ({ ...m })),
      quality: {
        extent: "full", pictures_seen: 124, pictures_expected: 125, sound_missing_secs: 0, refused_frames: 0, audio_offset_ms: -13, sound_moved_ms: 0, sync_unreliable: false,
        flags: {
          speech_secs: 3.2, faces: 1, faces_max: second ? 2 : 1, largest_face_pixels: 141, second_face: second, small_face: false, voice_without_face: false,
          silent: false, clipped_sound: false, frozen_picture: false, black_picture: false,
        },
      },
    });
    const events = [this.last];
    if (before !== "present" && this.labels.vote_of_max === "present") events.push(this.alert("session", span, window));
    if (label === "present" && !this.episode) {
      this.episode = { number: ++this.episodes, start_secs: span[0], present_windows: 1, misses: 0 };
      this.opened = this.event("ah.episode.opened.v1", span, { episode: this.episodes, judged_by: this.kind, present_windows: 1, alerted: true });
      events.push(this.opened);
      events.push(this.alert("episode", span, window));
    } else if (this.episode) {
      if (label === "present") Object.assign(this.episode, { misses: 0, end_secs: span[1], present_windows: this.episode.present_windows + 1 });
      if (label === "absent" && ++this.episode.misses === 2) events.push(this.close("clear"));
    }
    return events;
  }

  close(closed_by) {
    const { number, start_secs, end_secs = start_secs + 5, present_windows } = this.episode;
    this.episode = this.opened = null;
    return this.event("ah.episode.closed.v1", [start_secs, end_secs], { episode: number, judged_by: this.kind, present_windows, alerted: true, closed_by });
  }

  alert(kind, span, window) {
    const clock = (secs) => `${String(Math.floor(secs / 60)).padStart(2, "0")}:${(secs % 60).toFixed(1).padStart(4, "0")}`;
    const what = this.kind === "panel" ? "A/H" : "Hesitation cues";
    const at = `${clock(span[0])}–${clock(span[1])}`;
    const text = kind === "session" ? `${what} present in this session, at ${at}` : `${what} present: episode ${this.episodes} at ${at}`;
    const cues = this.kind === "panel" ? null : this.last.data.votes[0].cues;
    const alert = this.event("ah.alert.raised.v1", span, {
      kind, judged_by: this.kind, ...this.heuristic(), text, advisory: this.kind === "panel" ? PANEL_ADVISORY : CUES_ADVISORY, rule: "vote_of_max", session_labels: { ...this.labels },
      session_maxima: this.maxima.map((m) => ({ ...m })), window, episode: kind === "episode" ? this.episodes : null, cues,
    });
    this.alerts.push(alert);
    return alert;
  }

  /** The source is away for so long. */
  away(secs) {
    const span = [this.at, this.at + secs];
    const events = [this.event("ah.source.lost.v1", [this.at, this.at], { state: "retrying", detail: "no frame for 3 s" })];
    this.coverage.lost.total_secs += secs;
    this.coverage.lost.outage_secs += secs;
    events.push(this.event("ah.window.lost.v1", span, { window: null, quality: null, reason: "outage", votes: [] }));
    this.at += secs;
    this.continuity++;
    this.index = 0;
    events.push(this.event("ah.source.restored.v1", [this.at, this.at], { away_secs: secs }));
    return events;
  }

  paused(secs, by = "participant") {
    const from = this.at;
    const events = [this.event("ah.session.paused.v1", [from, from], { by })];
    this.at += secs;
    this.coverage.skipped.total_secs += secs;
    this.coverage.skipped.paused_secs += secs;
    events.push(this.event("ah.window.skipped.v1", [from, this.at], { window: null, quality: null, reason: "paused", detail: null, gate: null }));
    this.continuity++;
    this.index = 0;
    events.push(this.event("ah.session.resumed.v1", [this.at, this.at], { by }));
    return events;
  }

  ended() {
    const events = this.episode ? [this.close("session_end")] : [];
    events.push(this.event("ah.session.ended.v1", [0, this.at], { kind: this.kind, rule: "vote_of_max", ...this.books() }));
    Object.assign(this.session, { state: "ended", ended: new Date(this.begin + this.at * 1000).toISOString() });
    return events;
  }

  withdrawn() {
    Object.assign(this.session, { state: "withdrawn" });
    return [this.event("ah.session.withdrawn.v1", [this.at, this.at], { by: "participant" })];
  }
}
