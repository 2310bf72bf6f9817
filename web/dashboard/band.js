// The timeline of a session on a canvas: a row for the panel, one for each judge, the scores, the episodes. Only what is visible is
// drawn, so that a day of windows scrolls as a minute does. By keyboard and for screen readers it is a slider over the windows.

import { h } from "./dom.js";
import { DASHES, FIRST, FIRST_ANSWER, JUDGED, Palette } from "./paint.js";
import { LETTERS, clock, sentence } from "./words.js";

const ROWS = { axis: 22, panel: 44, judge: 24, scores: 64, episodes: 22, gap: 6 };
const ZOOM = { least: 0.002, most: 16, normal: 3.2, step: 1.6 }; // pixels a second
const STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

export class Band {
  #model; #onSelect; #scale = ZOOM.normal; #selected = -1; #hovered = -1; #follow = true; #frame = null; #palette;

  /** `onSelect(entry, pinned)`: what to tell of; null when the pointer has left and nothing is selected. */
  constructor(model, onSelect) {
    this.#model = model;
    this.#onSelect = onSelect;
    this.labels = h("div", { class: "labels", "aria-hidden": "true" });
    this.canvas = h("canvas", {
      class: "canvas", tabindex: "0", role: "slider", "aria-label": "Windows of the session", "aria-orientation": "horizontal",
      "aria-describedby": "band-help",
    });
    this.track = h("div", { class: "track" });
    this.scroller = h("div", { class: "scroller" }, this.track, this.canvas);
    this.element = h("div", { class: "band" }, this.labels, this.scroller);
    this.#listen();
  }

  #listen() {
    this.scroller.addEventListener("scroll", () => {
      this.#follow = this.scroller.scrollLeft + this.scroller.clientWidth >= this.scroller.scrollWidth - 8;
      this.draw();
    }, { passive: true });
    this.canvas.addEventListener("pointermove", (event) => this.#hover(this.#entryAt(event)));
    this.canvas.addEventListener("pointerleave", () => this.#hover(-1));
    this.canvas.addEventListener("click", (event) => this.select(this.#entryAt(event), false));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("focus", () => this.#selected < 0 && this.select(this.#model.entries.length - 1));
    this.observer = new ResizeObserver(() => this.changed());
    this.observer.observe(this.scroller);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => {
      this.#palette = null;
      this.draw();
    };
    this.dark.addEventListener("change", this.repaint);
  }

  destroy() {
    this.observer.disconnect();
    this.dark.removeEventListener("change", this.repaint);
    cancelAnimationFrame(this.#frame);
  }

  get selected() {
    return this.#model.entries[this.#selected] ?? null;
  }

  /** The model has more, or the place has another size. */
  changed() {
    const { entries } = this.#model;
    if (this.#selected >= entries.length) this.#selected = -1;
    this.#layout();
    if (this.#follow) this.scroller.scrollLeft = this.scroller.scrollWidth;
    this.#aria();
    this.draw();
  }

  zoom(factor) {
    const middle = (this.scroller.scrollLeft + this.scroller.clientWidth / 2) / this.#scale;
    this.#scale = Math.min(ZOOM.most, Math.max(ZOOM.least, this.#scale * factor));
    const follow = this.#follow;
    this.#layout();
    this.scroller.scrollLeft = follow ? this.scroller.scrollWidth : middle * this.#scale - this.scroller.clientWidth / 2;
    this.draw();
  }

  zoomIn = () => this.zoom(ZOOM.step);
  zoomOut = () => this.zoom(1 / ZOOM.step);

  /** All of the session in what is visible. */
  fit = () => this.zoom(this.scroller.clientWidth / Math.max(this.#model.end, 60) / this.#scale);

  /** To the end, and along with it. */
  follow = () => {
    this.#follow = true;
    this.scroller.scrollLeft = this.scroller.scrollWidth;
    this.draw();
  };

  select(index, reveal = true) {
    if (index < 0 || index >= this.#model.entries.length) return;
    this.#selected = index;
    if (reveal) this.#reveal(index);
    this.#aria();
    this.#onSelect(this.selected, true);
    this.draw();
  }

  /** Selects the window at `secs`. */
  selectAt(secs) {
    this.select(this.#model.at(secs + 0.001));
  }

  #reveal(index) {
    const { start, end } = this.#model.entries[index];
    const [left, right] = [start * this.#scale, end * this.#scale];
    const { scrollLeft, clientWidth } = this.scroller;
    if (left < scrollLeft + 8) this.scroller.scrollLeft = left - clientWidth / 3;
    else if (right > scrollLeft + clientWidth - 8) this.scroller.scrollLeft = right - (clientWidth * 2) / 3;
  }

  #aria() {
    const { entries } = this.#model;
    this.canvas.setAttribute("aria-valuemin", "0");
    this.canvas.setAttribute("aria-valuemax", String(Math.max(0, entries.length - 1)));
    this.canvas.setAttribute("aria-valuenow", String(Math.max(0, this.#selected)));
    const text = this.selected ? `${this.#selected + 1} of ${entries.length}: ${sentence(this.selected)}` : `${entries.length} windows`;
    this.canvas.setAttribute("aria-valuetext", text);
  }

  #entryAt({ offsetX }) {
    return this.#model.at((this.scroller.scrollLeft + offsetX) / this.#scale);
  }

  #hover(index) {
    if (index === this.#hovered) return;
    this.#hovered = index;
    this.#onSelect(this.#model.entries[index] ?? this.selected, index < 0);
    this.draw();
  }

  #key(event) {
    const { entries } = this.#model;
    const from = this.#selected < 0 ? entries.length - 1 : this.#selected;
    const seek = (step) => {
      for (let i = from + step; i >= 0 && i < entries.length; i += step) if (entries[i].outcome === "present") return i;
      return from;
    };
    const moves = {
      ArrowLeft: () => Math.max(0, from - 1), ArrowRight: () => Math.min(entries.length - 1, from + 1),
      ArrowDown: () => Math.max(0, from - 1), ArrowUp: () => Math.min(entries.length - 1, from + 1),
      PageUp: () => Math.max(0, from - 12), PageDown: () => Math.min(entries.length - 1, from + 12),
      Home: () => 0, End: () => entries.length - 1, n: () => seek(1), p: () => seek(-1),
    };
    const zooms = { "+": this.zoomIn, "-": this.zoomOut, 0: this.fit };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.select(moves[event.key]());
    else if (zooms[event.key]) zooms[event.key]();
    else return;
    event.preventDefault();
  }

  #rows() {
    const judges = this.#model.judges.length;
    const top = { axis: 0, panel: ROWS.axis };
    top.judges = top.panel + ROWS.panel + ROWS.gap;
    top.scores = top.judges + judges * ROWS.judge + ROWS.gap;
    top.episodes = top.scores + ROWS.scores + ROWS.gap;
    top.height = top.episodes + ROWS.episodes;
    return top;
  }

  #layout() {
    const top = this.#rows();
    this.track.style.width = `${Math.ceil(Math.max(this.#model.end, 1) * this.#scale) + 12}px`;
    const { clientWidth } = this.scroller;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(top.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.canvas.style.width = `${clientWidth}px`;
    this.canvas.style.height = `${top.height}px`;
    const { heuristic, judges } = this.#model;
    const names = [[heuristic ? "Cues" : "Panel", ROWS.axis, ROWS.panel], ...judges.map(({ judge }, i) => [judge, top.judges + i * ROWS.judge, ROWS.judge])];
    names.push([heuristic ? "Index" : "P(Yes)", top.scores, ROWS.scores], ["Episodes", top.episodes, ROWS.episodes]);
    const wanted = JSON.stringify(names);
    if (this.labels.dataset.names === wanted) return;
    this.labels.dataset.names = wanted;
    this.labels.style.height = `${top.height}px`;
    this.labels.replaceChildren(...names.map(([name, at, height]) => {
      const label = h("span", { title: name }, name);
      Object.assign(label.style, { top: `${at}px`, height: `${height}px`, lineHeight: `${height}px` });
      return label;
    }));
  }

  draw() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#paint();
    });
  }

  #paint() {
    this.#palette ??= new Palette(this.element);
    const context = this.canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, scrollLeft } = this.scroller;
    const top = this.#rows();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, top.height);
    context.textAlign = "center";
    context.textBaseline = "middle";
    const x = (secs) => secs * this.#scale - scrollLeft;
    const view = { context, width, top, x, from: this.#model.firstAfter(scrollLeft / this.#scale), until: (scrollLeft + width) / this.#scale };
    this.#axis(view);
    if (5 * this.#scale >= 3) this.#windows(view);
    else this.#crowd(view);
    this.#episodes(view);
    this.#marked(view);
  }

  #axis({ context, width, top, x, until }) {
    const palette = this.#palette;
    const step = STEPS.find((secs) => secs * this.#scale >= 64) ?? STEPS.at(-1);
    context.font = `12px ${palette.font}`;
    context.strokeStyle = palette.line;
    context.lineWidth = 1;
    const first = Math.floor(this.scroller.scrollLeft / this.#scale / step) * step;
    for (let secs = first; secs <= until; secs += step) {
      const at = Math.round(x(secs)) + 0.5;
      context.beginPath();
      context.moveTo(at, ROWS.axis - 4);
      context.lineTo(at, top.height);
      context.stroke();
      context.fillStyle = palette.faint;
      if (at > 16 && at < width - 16) context.fillText(clock(secs), at, 9);
    }
    const middle = top.scores + ROWS.scores / 2;
    context.setLineDash([2, 4]);
    context.beginPath();
    context.moveTo(0, middle);
    context.lineTo(width, middle);
    context.stroke();
    context.setLineDash([]);
  }

  #windows(view) {
    const { entries, judges } = this.#model;
    const lanes = judges.map(() => []);
    for (let i = view.from; i < entries.length && entries[i].start < view.until; i++) {
      const entry = entries[i];
      const [left, right] = [view.x(entry.start), view.x(this.#model.shownEnd(i))];
      this.#cell(view, entry.outcome, left, right, view.top.panel, ROWS.panel, JUDGED.has(entry.outcome));
      for (const vote of entry.votes) {
        const row = judges.findIndex(({ judge }) => judge === vote.judge);
        if (row < 0) continue;
        const judged = vote.answer === "present" || vote.answer === "absent";
        this.#cell(view, vote.answer, left, right, view.top.judges + row * ROWS.judge + 2, ROWS.judge - 4, judged);
        if (vote.p !== null) lanes[row].push([(left + right) / 2, vote.p, right - left]);
      }
    }
    this.#scores(view, lanes);
  }

  /** Many windows a pixel: each pixel shows the first of `FIRST` that it holds, and the highest score. */
  #crowd(view) {
    const { entries, judges } = this.#model;
    const rows = [FIRST, ...judges.map(() => FIRST_ANSWER)].map((order) => ({ order, pixels: new Map() }));
    const scores = judges.map(() => new Map());
    const put = ({ order, pixels }, left, right, word) => {
      const rank = order.indexOf(word);
      for (let pixel = Math.floor(left); pixel <= Math.max(left, right - 1); pixel++) {
        const known = pixels.get(pixel);
        if (rank >= 0 && (known === undefined || rank < known)) pixels.set(pixel, rank);
      }
    };
    for (let i = view.from; i < entries.length && entries[i].start < view.until; i++) {
      const entry = entries[i];
      const [left, right] = [view.x(entry.start), view.x(this.#model.shownEnd(i))];
      put(rows[0], left, right, entry.outcome);
      for (const vote of entry.votes) {
        const row = judges.findIndex(({ judge }) => judge === vote.judge);
        if (row < 0) continue;
        put(rows[row + 1], left, right, vote.answer);
        const pixel = Math.floor(left);
        if (vote.p !== null) scores[row].set(pixel, Math.max(vote.p, scores[row].get(pixel) ?? 0));
      }
    }
    rows.forEach(({ order, pixels }, row) => {
      const [at, height] = row === 0 ? [view.top.panel, ROWS.panel] : [view.top.judges + (row - 1) * ROWS.judge + 2, ROWS.judge - 4];
      for (const [pixel, rank] of pixels) {
        const word = order[rank];
        const full = row === 0 ? JUDGED.has(word) : ["present", "absent"].includes(word);
        view.context.fillStyle = this.#palette.fill(view.context, word);
        view.context.fillRect(pixel, full ? at : at + height * 0.55, 1, full ? height : height * 0.45);
      }
    });
    this.#scores(view, scores.map((pixels) => [...pixels].sort(([a], [b]) => a - b).map(([pixel, p]) => [pixel, p, 2])));
  }

  /** What was judged has its full height; what was not is low, and hatched. */
  #cell({ context }, word, left, right, at, height, full) {
    const palette = this.#palette;
    const inner = Math.max(1, right - left - (right - left > 6 ? 1 : 0));
    const [y, tall] = full ? [at, height] : [at + height * 0.55, height * 0.45];
    context.fillStyle = palette.fill(context, word);
    context.fillRect(left, y, inner, tall);
    if (!full && inner > 4) {
      context.strokeStyle = palette.hatch;
      context.lineWidth = 1;
      context.strokeRect(left + 0.5, y + 0.5, inner - 1, tall - 1);
    }
    if (inner < 11) return;
    const letter = LETTERS[word] ?? "";
    context.font = `${word === "present" ? "700 " : ""}12px ${palette.font}`;
    if (!full || word === "undecided") {
      context.fillStyle = palette.paper;
      context.fillRect(left + inner / 2 - 5, y + tall / 2 - 7, 10, Math.min(14, tall));
    }
    context.fillStyle = palette[`on-${word}`] ?? palette.ink;
    context.fillText(letter, left + inner / 2, y + tall / 2 + 0.5);
  }

  #scores({ context, top }, lanes) {
    lanes.forEach((points, row) => {
      context.strokeStyle = context.fillStyle = this.#palette[`series-${row % 5}`];
      context.lineWidth = 1.5;
      context.setLineDash(DASHES[row % DASHES.length]);
      context.beginPath();
      let last = -Infinity;
      for (const [x, p, width] of points) {
        const y = top.scores + ROWS.scores - 3 - p * (ROWS.scores - 6);
        // A hole in the line where nothing was judged in between.
        if (x - last > width * 1.6 + 2) context.moveTo(x, y);
        else context.lineTo(x, y);
        last = x;
      }
      context.stroke();
      context.setLineDash([]);
      if (points[0]?.[2] < 8) return;
      for (const [x, p] of points) context.fillRect(x - 1.5, top.scores + ROWS.scores - 4.5 - p * (ROWS.scores - 6), 3, 3);
    });
  }

  #episodes({ context, top, x, width }) {
    const palette = this.#palette;
    context.font = `12px ${palette.font}`;
    for (const { number, start, end, open } of this.#model.episodes.values()) {
      const [left, right] = [x(start), x(open ? this.#model.end : end)];
      if (right < 0 || left > width) continue;
      const wide = Math.max(3, right - left - 1);
      context.strokeStyle = palette.present;
      context.fillStyle = palette.present;
      context.lineWidth = 2;
      context.fillRect(left, top.episodes + 2, wide, 3);
      if (open) {
        context.setLineDash([4, 3]);
        context.strokeRect(left + 1, top.episodes + 2, wide - 2, ROWS.episodes - 5);
        context.setLineDash([]);
      }
      context.fillStyle = palette.ink;
      if (wide >= 11) context.fillText(String(number), Math.max(left, 0) + Math.min(wide, width) / 2, top.episodes + 13);
    }
    context.fillStyle = palette.ink;
    for (const { start } of this.#model.alerts) {
      const at = x(start) + Math.min(6, 2.5 * this.#scale);
      if (at < -6 || at > width + 6) continue;
      context.beginPath();
      context.moveTo(at, ROWS.axis - 1);
      context.lineTo(at - 4, ROWS.axis - 7);
      context.lineTo(at + 4, ROWS.axis - 7);
      context.fill();
    }
  }

  #marked({ context, top, x }) {
    for (const [index, colour] of [[this.#hovered, this.#palette.faint], [this.#selected, this.#palette.focus]]) {
      const entry = this.#model.entries[index];
      if (!entry) continue;
      const [left, right] = [x(entry.start), x(this.#model.shownEnd(index))];
      context.strokeStyle = colour;
      context.lineWidth = 2;
      context.strokeRect(left - 0.5, ROWS.axis - 1, Math.max(3, right - left), top.height - ROWS.axis);
    }
  }
}
