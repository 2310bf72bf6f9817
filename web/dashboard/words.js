// How numbers and states are said.

export const STATES = {
  awaiting_consent: "waiting for consent", awaiting_media: "waiting for the camera", live: "live", away: "camera away", paused: "paused",
  ended: "ended", withdrawn: "withdrawn", interrupted: "interrupted",
};

/** Sessions that will not go on. */
export const OVER = ["ended", "withdrawn", "interrupted"];

/** The letters of the terminal's screen. Only capitals were judged. */
export const LETTERS = { present: "P", absent: "A", undecided: "U", skipped: "s", dropped: "d", lost: "x", tail: "·", abstained: "?", not_asked: "" };

export const REASONS = {
  gate: "the gate found nobody to judge", early_stop: "early stop: already Present", paused: "paused", overload: "newer windows were waiting",
  shutdown: "the session ended first", outage: "the camera was away", missing_media: "picture or sound was missing", all_abstained: "every judge abstained",
  tail: "too short for a window",
};

export const FLAGS = {
  second_face: "a second face", small_face: "the face is small", voice_without_face: "a voice, but no face", silent: "silent sound",
  clipped_sound: "clipped sound", frozen_picture: "frozen picture", black_picture: "black picture",
};

const CUES = {
  pause_rate: "pauses", pause_ratio: "share of pauses", long_pause: "longest pause", hold_ratio: "drawn-out sounds", long_hold: "longest drawn-out sound",
  speech_rate: "speech rate", articulation_rate: "articulation rate", f0_range: "range of pitch", f0_rise: "rise of pitch", head_away: "head turned away",
};

export const words = (text) => String(text ?? "").replaceAll("_", " ");
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** 0:05, 12:30, 1:02:03. */
export function clock(secs) {
  const whole = Math.max(0, Math.floor(secs + 1e-6));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export const span = ({ start, end }) => `${clock(start)} to ${clock(end)}`;
export const percent = (ratio) => (ratio === null || ratio === undefined || !Number.isFinite(ratio) ? "–" : `${Math.floor(ratio * 100 + 1e-9)} %`);
export const millis = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`);
export const when = (text) => (text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–");
export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** Judged time over elapsed time without tail; null before there is any. */
export function coverage({ elapsed_secs, coverage } = {}) {
  if (!coverage) return null;
  const whole = elapsed_secs - coverage.tail_secs;
  return whole > 0 ? coverage.judged.total_secs / whole : null;
}

export function cue({ name, value, unit }) {
  return `${CUES[name] ?? words(name)} ${value === null ? "not measured" : `${value.toFixed(2)} ${unit}`.trim()}`;
}

/** What happened to a window, in a phrase. */
export function outcome(entry) {
  if (entry.reason) return `${entry.outcome === "tail" ? "not judged" : entry.outcome}: ${entry.detail || REASONS[entry.reason] || words(entry.reason)}`;
  return entry.outcome;
}

/** A judge's answer, in a phrase. */
export function answer(vote) {
  if (vote.answer === "abstained") return `abstained: ${vote.abstention ? vote.abstention.detail || words(vote.abstention.reason) : "no reason"}`;
  return words(vote.answer);
}

export function flags(entry) {
  return Object.entries(FLAGS).filter(([name]) => entry.flags?.[name] === true).map(([, text]) => text);
}

/** Everything of a window in a sentence, for a screen reader. */
export function sentence(entry) {
  const votes = entry.votes.map((vote) => {
    const score = vote.p === null ? "" : ` ${vote.p.toFixed(2)}`;
    return `${vote.judge} ${vote.answer === "abstained" ? "abstained" : words(vote.answer)}${score}`;
  });
  const odd = flags(entry);
  return [`${span(entry)}, ${outcome(entry)}`, votes.join(", "), odd.length ? `note: ${odd.join(", ")}` : ""].filter(Boolean).join("; ");
}
