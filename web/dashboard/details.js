// What is to be said of one window: its votes, what is odd about it, how long it took.

import { h, fill } from "./dom.js";
import { LETTERS, answer, capital, cue, flags, millis, outcome, span } from "./words.js";

export function showDetails(box, entry) {
  if (!entry) return fill(box, h("p", { class: "quiet" }, "Point at a window, or use the arrow keys in the timeline."));
  const odd = flags(entry);
  const number = entry.window ? `Window ${entry.window.index + 1}${entry.window.continuity ? ` of part ${entry.window.continuity + 1}` : ""}, ` : "";
  fill(
    box,
    h("p", { class: "headline" }, badge(entry.outcome), h("b", {}, `${number}${span(entry)}`), entry.reason ? ` ${outcome(entry)}` : "", entry.partial ? " (shorter than a full window)" : ""),
    odd.length > 0 && h("p", { class: "odd" }, `Note: ${odd.join(", ")}. This decides nothing.`),
    entry.votes.length > 0 && votes(entry.votes),
  );
}

/** A word with its letter and pattern. */
export function badge(word) {
  return h("span", { class: `label ${word}` }, h("i", { "aria-hidden": "true" }, LETTERS[word] ?? ""), capital(word.replaceAll("_", " ")));
}

function votes(list) {
  const heuristic = list.some(({ cues }) => cues);
  const row = (vote) => h("tr", {},
    h("th", { scope: "row" }, vote.judge),
    h("td", {}, capital(answer(vote)), vote.flag ? h("span", { class: "flag" }, vote.flag) : ""),
    h("td", { class: "number" }, vote.p === null ? "–" : vote.p.toFixed(2)),
    h("td", { class: "number" }, vote.latency === null ? "–" : millis(vote.latency)),
    heuristic && h("td", {}, (vote.cues ?? []).map(cue).join("; ")));
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Votes" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Judge"), h("th", { scope: "col" }, "Answer"),
      h("th", { scope: "col", class: "number" }, heuristic ? "Index" : "P(Yes)"), h("th", { scope: "col", class: "number" }, "Took"), heuristic && h("th", { scope: "col" }, "Strongest cues"))),
    h("tbody", {}, list.map(row))));
}
