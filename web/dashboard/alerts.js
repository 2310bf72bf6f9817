// Alerts of a session, with a person's word on each.

import { post } from "./api.js";
import { badge } from "./details.js";
import { h, fill } from "./dom.js";
import { capital, clock, cue, when, words } from "./words.js";

const VERDICTS = { confirmed: "Confirmed", dismissed: "Dismissed", open: "Open" };

/** `onShow(secs)` shows the window; `onChange()` after something was said. Notes being written stay. */
export function showAlerts(box, alerts, { acts, onShow, onChange }) {
  const writing = box.querySelector("form:not([hidden])");
  if (writing?.contains(document.activeElement) || writing?.querySelector("textarea").value) return; // later
  const now = JSON.stringify([alerts, acts]);
  if (box.shown === now) return;
  box.shown = now;
  if (!alerts.length) return fill(box, h("p", { class: "quiet" }, "No alert so far."));
  fill(box, h("ol", { class: "alerts" }, [...alerts].reverse().map((alert) => card(alert, { acts, onShow, onChange }))));
}

function card({ event, feedback, deliveries }, { acts, onShow, onChange }) {
  const { data, id, time } = event;
  const verdict = feedback?.verdict ?? "open";
  const said = feedback && verdict !== "open" ? `${VERDICTS[verdict]} by ${feedback.by}, ${when(feedback.at)}` : "Nobody has looked yet";
  const problem = h("p", { class: "error", role: "alert" });
  const tell = async (word, note) => {
    try {
      await post(`/v1/alerts/${encodeURIComponent(id)}/feedback`, { verdict: word, note });
      onChange();
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const note = feedback?.note ?? "";
  const area = h("textarea", { rows: "3", id: `note-${id}`, maxlength: "2000" }, note);
  const form = h("form", { hidden: true, onsubmit: (event) => {
    event.preventDefault();
    const text = area.value;
    area.value = "";
    form.hidden = true;
    tell(verdict, text);
  } }, h("label", { for: `note-${id}` }, "Note"), area, h("div", { class: "row" }, h("button", { type: "submit" }, "Save note"), h("button", { type: "button", onclick: () => {
    area.value = "";
    form.hidden = true;
  } }, "Cancel")));
  const button = (word, label) => h("button", { type: "button", "data-key": `${id}.${word}`, "aria-pressed": String(verdict === word), onclick: () => tell(verdict === word ? "open" : word, note) }, label);
  return h("li", { class: `alert ${verdict}` },
    h("p", { class: "headline" }, h("b", {}, data.text)),
    h("p", { class: "quiet" }, `${capital(data.kind)} alert, ${when(time)}. ${said}.`, data.durable === false || event.durable === false ? " Not yet safely stored." : ""),
    data.cues && h("p", { class: "quiet" }, `Strongest cues: ${data.cues.top.slice(0, 3).map(cue).join("; ")}`),
    h("p", { class: "quiet" }, "Session then: ", badge(data.session_labels[data.rule]), ` by ${data.rule}`),
    deliveries.length > 0 && h("p", { class: "quiet" }, `Sent: ${deliveries.map(({ sink, state }) => `${sink} ${words(state)}`).join(", ")}`),
    note && h("p", { class: "note" }, h("b", {}, "Note: "), note),
    problem,
    h("div", { class: "row" },
      h("button", { type: "button", "data-key": `${id}.show`, onclick: () => onShow(data.span.start_secs) }, `Show ${clock(data.span.start_secs)}`),
      acts && button("confirmed", "Confirm"), acts && button("dismissed", "Dismiss"),
      acts && h("button", { type: "button", "data-key": `${id}.note`, onclick: () => {
        form.hidden = false;
        area.value = note;
        area.focus();
      } }, note ? "Change note" : "Add note")),
    acts && form);
}
