// The windows as a table, newest first: what the timeline shows, for who reads rather than looks.

import { badge } from "./details.js";
import { fill, h } from "./dom.js";
import { answer, clock, flags, outcome } from "./words.js";

const ROWS = 50;

/** Shows one page of the entries; which one is kept on `box`. */
export function showTable(box, entries) {
  const pages = Math.max(1, Math.ceil(entries.length / ROWS));
  const page = Math.min(Number(box.dataset.page ?? 0), pages - 1);
  const go = (to) => () => {
    box.dataset.page = String(to);
    showTable(box, entries);
  };
  const until = entries.length - page * ROWS;
  const shown = entries.slice(Math.max(0, until - ROWS), until).reverse();
  const row = (entry) => h("tr", {}, h("th", { scope: "row" }, `${clock(entry.start)}–${clock(entry.end)}`), h("td", {}, badge(entry.outcome)),
    h("td", {}, entry.votes.map((vote) => `${vote.judge}: ${answer(vote)}${vote.p === null ? "" : ` ${vote.p.toFixed(2)}`}`).join("; ") || outcome(entry)),
    h("td", {}, flags(entry).join(", ")));
  fill(box,
    h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Windows" }, h("table", {},
      h("caption", {}, `Page ${page + 1} of ${pages}, newest first`),
      h("thead", {}, h("tr", {}, ["Time", "Result", "Votes or reason", "Notes"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, shown.map(row)))),
    h("div", { class: "row" },
      h("button", { type: "button", "data-key": "newer", disabled: page === 0, onclick: go(page - 1) }, "Newer"),
      h("button", { type: "button", "data-key": "older", disabled: page >= pages - 1, onclick: go(page + 1) }, "Older")));
}
