// How a timeline is painted: colours of the page, patterns beside them, and what wins where a pixel holds many windows.

const COLOURS = ["paper", "shade", "ink", "faint", "line", "present", "on-present", "absent", "on-absent", "undecided", "hatch", "focus", "series-0", "series-1", "series-2", "series-3", "series-4"];

/** Where many windows share a pixel, the first of these is shown. */
export const FIRST = ["present", "undecided", "lost", "dropped", "absent", "skipped", "tail"];
/** The same for a judge's answers. */
export const FIRST_ANSWER = ["present", "abstained", "absent", "not_asked"];

/** Whether it is painted at full height: only what was judged is. */
export const JUDGED = new Set(["present", "absent", "undecided"]);

export class Palette {
  constructor(element) {
    const style = getComputedStyle(element);
    for (const name of COLOURS) this[name] = style.getPropertyValue(`--${name}`).trim();
    this.font = style.fontFamily;
    this.patterns = new Map();
  }

  /** What fills an outcome or an answer: each differs in more than its colour. */
  fill(context, word) {
    switch (word) {
      case "present": return this.present;
      case "absent": return this.absent;
      default: return this.#pattern(context, word);
    }
  }

  #pattern(context, word) {
    if (!this.patterns.has(word)) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 8;
      const pen = tile.getContext("2d");
      pen.fillStyle = word === "undecided" ? this.undecided : this.paper;
      pen.fillRect(0, 0, 8, 8);
      pen.strokeStyle = pen.fillStyle = word === "undecided" ? this.paper : this.hatch;
      pen.lineWidth = 1.5;
      STROKES[word]?.(pen);
      this.patterns.set(word, context.createPattern(tile, "repeat"));
    }
    return this.patterns.get(word);
  }
}

function lines(pen, ...points) {
  pen.beginPath();
  for (const [x0, y0, x1, y1] of points) {
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }
  pen.stroke();
}

const STROKES = {
  undecided: (pen) => lines(pen, [-2, 6, 6, -2], [2, 10, 10, 2]), // diagonals
  skipped: (pen) => [[2, 2], [6, 6]].forEach(([x, y]) => pen.fillRect(x - 1, y - 1, 2, 2)), // dots
  dropped: (pen) => lines(pen, [2, 0, 2, 8], [6, 0, 6, 8]), // upright lines
  lost: (pen) => lines(pen, [0, 0, 8, 8], [8, 0, 0, 8]), // crosses
  abstained: (pen) => lines(pen, [-2, 6, 6, -2], [2, 10, 10, 2]),
  tail: (pen) => pen.fillRect(0, 6, 8, 2),
};

/** Dashes of the judges' score lines. */
export const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 2]];
