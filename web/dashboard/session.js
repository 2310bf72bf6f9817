// One session: its timeline, judges, alerts and books, live.

import { ask, post, sessionPath } from "./api.js";
import { showAlerts } from "./alerts.js";
import { Band } from "./band.js";
import { badge, showDetails } from "./details.js";
import { confirmed, fill, h, say, throttled } from "./dom.js";
import { ADVISORY, fact, stateBadge } from "./list.js";
import { Live } from "./live.js";
import { SessionModel, median } from "./model.js";
import { showTable } from "./table.js";
import { OVER, answer, capital, clock, coverage, millis, percent, when, words } from "./words.js";

const REFRESH_MS = 3_000; // at most so often
const AGAIN_MS = 30_000; // what has no event, such as the word of another person on an alert
const LEGEND = ["present", "absent", "undecided", "skipped", "dropped", "lost"];

export class SessionView {
  #id; #acts; #session = null; #alerts = []; #model = new SessionModel(); #entry = null; #problem = null; #stale = true;
  #failed = null; // the last action, if it was refused: { action, message }, until the next one

  constructor({ main, id, acts, onLink }) {
    this.#id = id;
    this.#acts = acts;
    this.#build(main);
    this.refresh = throttled(() => this.#load(), REFRESH_MS);
    this.parts = throttled(() => this.#showParts(), 400);
    this.live = new Live({
      path: sessionPath(id, "/events"), after: "0",
      onEvent: (event) => this.#take(event),
      onState: (there) => {
        onLink(there);
        if (there) this.refresh();
      },
    });
    this.timer = setInterval(() => this.#reload(), AGAIN_MS);
    this.refresh();
  }

  close() {
    this.live.close();
    this.band.destroy();
    clearInterval(this.timer);
  }

  #build(main) {
    this.band = new Band(this.#model, (entry) => {
      this.#entry = entry;
      showDetails(this.details, entry);
    });
    const section = (name, ...children) => h("section", { class: "card", "aria-label": name }, h("h2", {}, name), ...children);
    const tool = (label, text, onclick) => h("button", { type: "button", "aria-label": label, title: label, onclick }, text);
    this.title = h("h1", { tabindex: "-1" }, "Session");
    this.head = h("div", { class: "head" });
    this.actions = h("div", { class: "row" });
    this.problem = h("p", { class: "error", role: "alert" });
    this.hint = h("p", { class: "hint", hidden: true });
    this.facts = h("dl", { class: "facts wide-facts" });
    this.details = h("div", { class: "details" });
    this.table = h("div");
    this.tableBox = h("details", { ontoggle: () => this.#showTable() }, h("summary", {}, "Windows as a table"), this.table);
    this.judges = h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Judges, table" });
    this.alerts = h("div");
    this.books = h("div");
    this.advisory = h("p", { class: "advisory" });
    this.body = h("div", {},
      this.hint, this.facts,
      section("Timeline",
        h("div", { class: "row tools" }, tool("Zoom in", "+", this.band.zoomIn), tool("Zoom out", "−", this.band.zoomOut),
          tool("All of the session", "All", this.band.fit), tool("Newest window, and stay there", "Newest", this.band.follow)),
        this.band.element,
        h("p", { class: "legend" }, LEGEND.map((word) => badge(word))),
        h("p", { class: "quiet", id: "band-help" }, "Low and hatched is not judged, which is not Absent. Arrow keys go from window to window, n and p to the next and previous Present one, + and − zoom. ▾ is an alert. Zoomed far out, a line is Present if any of its windows is."),
        this.details, this.tableBox),
      section("Alerts", this.alerts,
        h("p", { class: "row" }, h("button", { type: "button", onclick: () => this.#export() }, "Download these alerts (JSONL)"))),
      section("Judges", this.judges),
      section("Summary", this.books));
    fill(main, h("p", {}, h("a", { href: "#/" }, "‹ All sessions")), this.title, this.head, this.problem, this.actions, this.advisory, this.body);
    showDetails(this.details, null);
  }

  #take(event) {
    if (!this.#model.apply(event)) return;
    if (event.type === "ah.alert.raised.v1" && Date.now() - Date.parse(event.time) < 60_000) say(`New alert: ${event.data.text}`);
    if (this.#model.withdrawn) this.#withdrawn();
    if (event.type === "ah.alert.raised.v1") this.#stale = true;
    this.parts();
    this.refresh();
  }

  /** With the alerts. */
  #reload() {
    this.#stale = true;
    return this.#load();
  }

  async #load() {
    const stale = this.#stale;
    this.#stale = false;
    try {
      const [session, alerts] = await Promise.all([ask(sessionPath(this.#id)), stale ? this.#readAlerts() : this.#alerts]);
      this.#session = session;
      this.#alerts = alerts;
      this.#problem = null;
      if (session.state === "withdrawn") this.#withdrawn();
    } catch (problem) {
      this.#stale ||= stale;
      this.#problem = problem;
    }
    this.#show();
  }

  async #readAlerts() {
    const all = [];
    for (let after = null; ; ) {
      const { alerts, next } = await ask(sessionPath(this.#id, after === null ? "/alerts" : `/alerts?after=${after}`));
      all.push(...alerts);
      if (next === null || next === undefined) return all;
      after = next;
    }
  }

  /** Nothing of a withdrawn session stays on the screen. */
  #withdrawn() {
    this.#model.clear();
    this.#model.withdrawn = true;
    this.#alerts = [];
    this.#entry = null;
    if (this.#session) this.#session = { ...this.#session, state: "withdrawn", labels: null };
    this.#show();
  }

  #show() {
    this.problem.textContent = (this.#failed ?? this.#problem)?.message ?? "";
    const session = this.#session;
    this.body.hidden = !session || this.#model.withdrawn;
    if (!session) return;
    if (this.title.textContent !== session.source) this.title.textContent = session.source;
    document.title = `${session.source} – ahwatch`;
    const consent = session.consent ? `consent ${when(session.consent.at)}` : "no consent yet";
    fill(this.head, stateBadge(session.state), session.away_because && h("span", {}, session.away_because), h("span", { class: "quiet" }, `${capital(words(session.purpose ?? "no purpose given"))}, ${consent}, created ${when(session.created)}`));
    this.advisory.textContent = this.#model.withdrawn ? `The participant has withdrawn. ${this.#undeleted() ? "Not everything could be deleted, see above: withdraw again." : "Everything of this session is deleted."}` : (session.advisory ?? ADVISORY);
    this.#showActions(session);
    this.#showParts();
    showAlerts(this.alerts, this.#alerts, {
      acts: this.#acts,
      onShow: (secs) => {
        this.band.selectAt(secs);
        this.band.element.scrollIntoView({ block: "center" });
        this.band.canvas.focus({ preventScroll: true });
      },
      onChange: () => this.#reload(),
    });
  }

  /** Whether a withdrawal took place and was refused all the same: something could not be deleted, and it can be asked for again. */
  #undeleted() {
    return this.#failed?.action === "withdraw";
  }

  #showActions({ state }) {
    const act = (action) => async () => {
      this.#failed = null;
      try {
        await post(sessionPath(this.#id, `/${action}`));
        this.#problem = null;
      } catch ({ message }) {
        this.#failed = { action, message };
        return this.#show();
      }
      this.#reload();
    };
    const end = async () => (await confirmed("End this session?", "The camera is no longer analysed. The results stay.", "End session")) && act("end")();
    const withdraw = async () =>
      (await confirmed("Withdraw this session?", "For the participant, if they asked you to. All results and alerts of this session are deleted and cannot be brought back.", "Withdraw and delete")) && act("withdraw")();
    const running = ["live", "away", "awaiting_media"].includes(state);
    const over = OVER.includes(state);
    fill(this.actions, this.#acts && (state !== "withdrawn" || this.#undeleted()) && [
      running && h("button", { type: "button", "data-key": "pause", onclick: act("pause") }, "Pause"),
      state === "paused" && h("button", { type: "button", "data-key": "pause", onclick: act("resume") }, "Go on"),
      !over && h("button", { type: "button", "data-key": "end", onclick: end }, "End"),
      h("button", { type: "button", "data-key": "withdraw", onclick: withdraw }, "Withdraw for the participant"),
    ]);
  }

  #showParts() {
    this.band.changed();
    const session = this.#session;
    if (!session || this.#model.withdrawn) return;
    if (!this.#entry) showDetails(this.details, this.#model.entries.at(-1));
    const { labels, alarms } = session;
    const hint = session.saturation?.text;
    this.hint.hidden = !hint;
    this.hint.textContent = hint ?? "";
    const label = (rule) => fact(`Session by ${rule}${rule === session.rule ? " (in force)" : ""}`, labels ? badge(labels[rule]) : "–");
    const episode = session.open_episode;
    fill(this.facts, label("vote_of_max"), label("max_of_vote"), fact("Time", clock(session.elapsed_secs ?? 0)), fact("Judged", percent(coverage(session))),
      fact("Episode", episode ? h("b", {}, "open") : "none open"), fact("Alarms per hour", alarms?.per_hour === null || !alarms ? "–" : alarms.per_hour.toFixed(1)),
      fact("Alerts", String(session.alerts ?? 0)));
    this.#showJudges();
    this.#showBooks();
    this.#showTable();
  }

  #showJudges() {
    const { judges } = this.#model;
    if (!judges.length) return fill(this.judges, h("p", { class: "quiet" }, "Nobody has been asked yet."));
    const row = ({ judge, max, answers, last, latencies, proof }) => {
      const took = median(latencies);
      return h("tr", {}, h("th", { scope: "row" }, judge), h("td", {}, max ? badge(max) : "–"),
        ...["present", "absent", "abstained"].map((word) => h("td", { class: "number" }, String(answers[word] ?? 0))),
        h("td", {}, last ? capital(answer(last)) : "–"), h("td", { class: "number" }, took === null ? "–" : millis(took)), h("td", {}, proof ? words(proof) : "–"));
    };
    fill(this.judges, h("table", {},
      h("thead", {}, h("tr", {}, heads(["Judge", "Session max"], ["Present", "Absent", "Abstained"], ["Last answer"], ["Median time"], ["Checked"]))),
      h("tbody", {}, judges.map(row))));
  }

  #showBooks() {
    const books = this.#session.coverage;
    if (!books) return fill(this.books, h("p", { class: "quiet" }, "Nothing has been accounted for yet."));
    const rows = [["Judged", books.judged.total_secs, "judged"]];
    for (const [name, account] of [["Skipped", books.skipped], ["Dropped", books.dropped], ["Lost", books.lost]]) {
      const why = Object.entries(account).filter(([key, secs]) => key !== "total_secs" && secs > 0).map(([key, secs]) => `${words(key.replace(/_secs$/, ""))} ${clock(secs)}`);
      rows.push([name, account.total_secs, why.join(", ")]);
    }
    rows[0][2] = ["present", "absent", "undecided"].map((word) => `${word} ${clock(books.judged[`${word}_secs`])}`).join(", ");
    rows.push(["Tail", books.tail_secs, "too short for a window"]);
    const { verdict, state } = this.#session;
    fill(this.books,
      verdict && h("p", {}, h("b", {}, `${OVER.includes(state) ? "" : "So far: "}${verdict}`)),
      h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Books of the session" }, h("table", {},
        h("caption", {}, "Every second once"),
        h("thead", {}, h("tr", {}, h("td"), heads([], ["Time"], ["Of this"]))),
        h("tbody", {}, rows.map(([name, secs, why]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "number" }, clock(secs)), h("td", {}, why)))))));
  }

  #showTable() {
    if (this.tableBox.open) showTable(this.table, this.#model.entries);
  }

  #export() {
    const lines = this.#alerts.map((alert) => JSON.stringify(alert) + "\n");
    const url = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
    const link = h("a", { href: url, download: `alerts-${this.#id}.jsonl` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}

/** Headings of columns: of words, of numbers, of words, and so on. */
function heads(...groups) {
  return groups.flatMap((names, i) => names.map((name) => h("th", { scope: "col", class: i % 2 ? "number" : null }, name)));
}
