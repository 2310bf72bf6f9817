// All sessions, the judges' health, and the receivers of alerts.

import { ask, readiness } from "./api.js";
import { h, fill, throttled } from "./dom.js";
import { Live } from "./live.js";
import { badge } from "./details.js";
import { OVER, STATES, clock, coverage, percent, plural, when, words } from "./words.js";

const REFRESH_MS = 3_000; // at most so often
const AGAIN_MS = 15_000; // what has no event, such as a consent
const PAGE = 100;

/** Where no session's own is at hand. */
export const ADVISORY = "Advisory, not a diagnosis: what is shown here is estimated; it errs, and a person has to decide.";

export class ListView {
  #sessions = []; #next = null; #more = []; #problem = null; #health = null; // until it was told: nothing is said of who judges

  constructor({ main, onLink }) {
    this.cards = h("ul", { class: "cards", "aria-label": "Sessions" });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.#older() }, "Older sessions");
    this.problem = h("p", { class: "error", role: "alert" });
    this.empty = h("p", { class: "empty", hidden: true });
    this.health = h("section", { class: "card", hidden: true });
    fill(main, h("h1", { tabindex: "-1" }, "Sessions"), this.problem, this.empty, this.cards, this.more, this.health,
      h("p", { class: "row" }, h("a", { class: "button", href: "/v1/alerts?format=jsonl", download: "alerts.jsonl" }, "Download all alerts (JSONL)")),
      h("p", { class: "advisory" }, ADVISORY));
    this.refresh = throttled(() => this.#load(), REFRESH_MS);
    this.live = new Live({ path: "/v1/events", onEvent: () => this.refresh(), onState: (there) => {
      onLink(there);
      if (there) this.refresh();
    } });
    this.timer = setInterval(this.refresh, AGAIN_MS);
    this.refresh();
  }

  close() {
    this.live.close();
    clearInterval(this.timer);
  }

  async #load() {
    try {
      const [{ sessions, next }, { judges }, { sinks }, reasons] = await Promise.all([
        ask(`/v1/sessions?limit=${PAGE}`), ask("/v1/judges"), ask("/v1/sinks"), readiness(),
      ]);
      this.#sessions = sessions;
      if (!this.#more.length) this.#next = next;
      this.#health = { judges, sinks, reasons };
      this.#problem = null;
    } catch (problem) {
      this.#problem = problem;
    }
    this.#show();
  }

  async #older() {
    try {
      const { sessions, next } = await ask(`/v1/sessions?limit=${PAGE}&after=${encodeURIComponent(this.#next)}`);
      this.#more.push(...sessions);
      this.#next = next;
    } catch (problem) {
      this.#problem = problem;
    }
    this.#show();
  }

  #show() {
    this.problem.textContent = this.#problem?.message ?? "";
    const known = new Set(this.#sessions.map(({ id }) => id));
    const all = [...this.#sessions, ...this.#more.filter(({ id }) => !known.has(id))];
    const running = ({ state }) => (OVER.includes(state) ? 1 : 0);
    all.sort((a, b) => running(a) - running(b) || b.created.localeCompare(a.created));
    fill(this.cards, all.map(card));
    this.empty.hidden = all.length > 0 || Boolean(this.#problem);
    this.empty.textContent = "There is no session yet. A participant’s session begins with “New session”; cameras of the configuration appear by themselves.";
    this.more.hidden = !this.#next;
    this.#showHealth();
  }

  #showHealth() {
    this.health.hidden = !this.#health;
    if (!this.#health) return;
    const { judges, sinks, reasons } = this.#health;
    fill(this.health,
      h("h2", {}, "Judges"),
      reasons.map((reason) => h("p", { class: "hint" }, `Not ready: ${reason}.`)),
      judges.length === 0 && reasons.length > 0 ? null : judges.length === 0 ? h("p", { class: "quiet" }, "No panel is configured: the hesitation-cue index judges, which is not calibrated.")
        : h("ul", { class: "health" }, judges.map(health)),
      sinks.length > 0 && h("h2", {}, "Receivers"),
      sinks.length > 0 && h("ul", { class: "health" }, sinks.map(receiver)));
  }
}

/** The state of a session, told by word and shape. */
export function stateBadge(state) {
  return h("span", { class: `state ${state}` }, h("i", { "aria-hidden": "true" }), STATES[state] ?? words(state));
}

export function fact(name, ...value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
}

function card(session) {
  const { id, source, state, labels, rule, last_window, open_episode, alerts, elapsed_secs } = session;
  const ratio = coverage(session);
  const lastWord = last_window && (last_window.data.label ?? last_window.type.split(".")[2]);
  return h("li", { class: `card session-card${open_episode ? " open" : ""}` },
    h("h2", {}, h("a", { href: `#/session/${encodeURIComponent(id)}`, "data-key": id }, source)),
    h("p", {}, stateBadge(state)),
    labels && h("dl", { class: "facts" },
      fact("Time", clock(elapsed_secs)),
      fact("Judged", percent(ratio)),
      fact("Last window", lastWord ? badge(lastWord) : "–"),
      fact("Session so far", badge(labels[rule])),
      fact("Episode", open_episode ? h("b", {}, "open") : "none open"),
      fact("Alerts", String(alerts ?? 0))),
    !labels && h("p", { class: "quiet" }, `Created ${when(session.created)}`));
}

const PROOFS = {
  proven: "hears and sees", unproven: "unproven: it could not be checked", not_checked: "not checked", "failed: deaf": "does not hear",
  "failed: blind": "does not see", "failed: truncates": "hears only a part", "failed: changed": "answers otherwise than before",
};

function health({ name, model, base_urls, proof, set_aside }) {
  const told = [set_aside && "set aside, not asked", PROOFS[proof] ?? words(proof), model, base_urls.join(", ")];
  return h("li", { class: String(proof).startsWith("failed") ? "bad" : proof === "proven" ? "good" : "fair" }, h("b", {}, name), ` ${told.filter(Boolean).join("; ")}`);
}

function receiver({ sink, configured, pending, dead, oldest }) {
  const told = [configured ? null : "not configured any more", pending ? `${pending} waiting${oldest ? ` since ${when(oldest)}` : ""}` : "nothing waiting", dead ? `${plural(dead, "message")} given up` : null];
  return h("li", { class: dead ? "bad" : pending ? "fair" : "good" }, h("b", {}, sink), ` ${told.filter(Boolean).join("; ")}`);
}
