// A grid of numbers: a real table in which the arrow keys walk from cell to cell.

import { el, marked } from "./dom.mjs";
import { column } from "./numbers.mjs";

const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
const shades = new Set(["weights", "scores", "scaled", "masked", "content_to_content"]);

/** A grid `name` with a caption; `on.show(row, column)` tells of a cell, `on.press` acts on it. */
export class Grid {
  constructor(name, caption, rows, columns, on) {
    this.name = name;
    this.on = on;
    this.body = el("tbody");
    this.cells = rows.map((text, i) => {
      const cells = columns.map((_, j) => el("td", { tabindex: i || j ? "-1" : "0" }));
      this.body.append(el("tr", {}, el("th", { scope: "row" }, text), cells));
      return cells;
    });
    const heads = columns.map((text) => el("th", { scope: "col" }, text));
    const table = el("table", { role: "grid", "data-name": name },
      el("caption", {}, ...marked(caption)),
      el("thead", {}, el("tr", {}, el("td"), heads)), this.body);
    this.node = el("div", { class: "scroll" }, table);
    this.current = [0, 0];
    table.addEventListener("keydown", (event) => this.key(event));
    table.addEventListener("focusin", (event) => this.enter(event.target));
    table.addEventListener("pointerover", (event) => this.tell(event.target));
    table.addEventListener("click", (event) => this.press(event.target));
  }

  /** Writes numbers (row by row); a hidden cell has a mark of its own, NaN is called that. */
  fill(values, { hidden = null, marked: row = -1, digits = 2, text = null, label = null } = {}) {
    const all = values.flatMap((line) => Array.from(line));
    const write = text ?? column(all.filter((_, i) => !hidden || !hidden(i)), digits);
    const finite = all.filter(Number.isFinite).map(Math.abs);
    const largest = finite.reduce((a, b) => Math.max(a, b), 0);
    values.forEach((line, i) => {
      this.body.rows[i].className = i === row ? "followed" : "";
      Array.from(line).forEach((value, j) => {
        const cell = this.cells[i][j];
        const gone = hidden !== null && hidden(i * line.length + j);
        const shown = gone && value !== -Infinity && this.name === "weights" ? "·" : write(value);
        if (cell.textContent !== shown) cell.textContent = shown;
        cell.className = gone ? "hidden" : value < 0 ? "below" : "";
        if (label) cell.setAttribute("aria-label", label(i, j, value));
        if (shades.has(this.name)) {
          const heat = Number.isFinite(value) && largest ? Math.abs(value) / largest : 0;
          cell.style.setProperty("--heat", gone ? "0" : heat.toFixed(3));
        }
      });
    });
  }

  place(cell) {
    const td = cell.closest("td");
    if (!td || td.closest("thead")) return null;
    return [td.parentNode.rowIndex - 1, td.cellIndex - 1];
  }

  tell(target) {
    const at = this.place(target);
    if (at) this.on.show(...at);
  }

  enter(target) {
    const at = this.place(target);
    if (!at) return;
    this.cells[this.current[0]][this.current[1]].tabIndex = -1;
    this.cells[at[0]][at[1]].tabIndex = 0;
    this.current = at;
    this.on.show(...at);
  }

  press(target) {
    const at = this.place(target);
    if (!at) return;
    this.focus(...at);
    if (this.on.press) this.on.press(...at);
  }

  focus(row, cell) {
    const rows = this.cells.length - 1;
    const columns = this.cells[0].length - 1;
    const at = [Math.max(0, Math.min(row, rows)), Math.max(0, Math.min(cell, columns))];
    this.cells[at[0]][at[1]].focus({ preventScroll: false });
  }

  key(event) {
    const at = this.place(event.target);
    if (!at || event.altKey || event.metaKey) return;
    const last = this.cells[0].length - 1;
    if (event.key in STEPS) {
      this.focus(at[0] + STEPS[event.key][0], at[1] + STEPS[event.key][1]);
    } else if (event.key === "Home") {
      this.focus(event.ctrlKey ? 0 : at[0], 0);
    } else if (event.key === "End") {
      this.focus(event.ctrlKey ? this.cells.length - 1 : at[0], last);
    } else if ((event.key === "Enter" || event.key === " ") && this.on.press) {
      this.on.press(...at);
    } else {
      return;
    }
    event.preventDefault();
  }
}
