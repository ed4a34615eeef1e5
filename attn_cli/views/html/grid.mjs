// A grid of numbers: a real table in which the arrow keys walk from cell to cell. Of a large one a
// window is drawn, so that the page stays small whatever the prompt and the model.

import { el, marked } from "./dom.mjs";
import { column } from "./numbers.mjs";
import { say } from "./words.mjs";

const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
const WINDOW = [24, 32]; // rows and columns at once
const shades = new Set(["weights", "scores", "scaled", "masked", "content_to_content"]);

function clamp(value, least, most) {
  return Math.max(least, Math.min(value, most));
}

/** A grid `name` with a caption; `on.show(row, column)` tells of a cell, `on.press` acts on it.
 * It begins near the place `start`. */
export class Grid {
  constructor(name, caption, rows, columns, on, start = [0, 0]) {
    this.name = name;
    this.on = on;
    this.names = [rows, columns];
    this.size = this.names.map((names, axis) => Math.min(names.length, WINDOW[axis]));
    this.first = this.size.map((size, axis) => (
      clamp(start[axis] - Math.floor(size / 2), 0, this.names[axis].length - size)
    ));
    this.current = [0, 0]; // in the window
    this.body = el("tbody");
    this.head = el("tr", {}, el("td"));
    this.caption = el("caption");
    this.title(caption);
    const table = el("table", { role: "grid", "data-name": name },
      this.caption, el("thead", {}, this.head), this.body);
    this.node = el("div", { class: "grid" }, el("div", { class: "scroll" }, table));
    if (this.size.some((size, axis) => size < this.names[axis].length)) this.turner(table);
    this.build();
    table.addEventListener("keydown", (event) => this.key(event));
    table.addEventListener("focusin", (event) => this.enter(event.target));
    table.addEventListener("pointerover", (event) => this.tell(event.target));
    table.addEventListener("click", (event) => this.press(event.target));
  }

  title(caption) {
    this.caption.replaceChildren(el("span", {}, ...marked(caption)));
  }

  build() {
    const [rows, columns] = this.size;
    const [top, left] = this.first;
    this.head.replaceChildren(el("td"), ...this.names[1].slice(left, left + columns)
      .map((text, j) => el("th", { scope: "col", ...this.index("col", left + j + 2) }, text)));
    this.body.replaceChildren();
    this.cells = this.names[0].slice(top, top + rows).map((text, i) => {
      const cells = Array.from({ length: columns }, (_, j) => el("td",
        { tabindex: i || j ? "-1" : "0", ...this.index("col", left + j + 2) }));
      this.body.append(el("tr", this.index("row", top + i + 2),
        el("th", { scope: "row" }, text), cells));
      return cells;
    });
    this.current = [0, 0];
  }

  /** Where in the whole grid a row or a column stands, told where it is not all there. */
  index(axis, place) {
    return this.turned ? { [`aria-${axis}index`]: place } : {};
  }

  /** What is drawn of how much, and buttons to the rest. */
  turner(table) {
    this.turned = true;
    this.names.forEach((names, axis) => {
      table.setAttribute(`aria-${axis ? "col" : "row"}count`, names.length + 1);
    });
    this.told = el("span", { role: "status" });
    const button = (axis, way, sign) => {
      const label = say(`html.turn_${axis ? "columns" : "rows"}_${way < 0 ? "back" : "on"}`,
        { name: this.name });
      const found = el("button", { type: "button", "aria-label": label, title: label }, sign);
      found.addEventListener("click", () => {
        this.reach(axis, this.first[axis] + (way < 0 ? -1 : this.size[axis]), this.size[axis]);
      });
      return [axis, way, found];
    };
    this.buttons = [[0, -1, "↑"], [0, 1, "↓"], [1, -1, "←"], [1, 1, "→"]]
      .filter(([axis]) => this.size[axis] < this.names[axis].length)
      .map((one) => button(...one));
    const buttons = this.buttons.map(([, , one]) => one);
    this.node.prepend(el("div", { class: "turn" }, this.told, buttons));
  }

  /** Moves the window by whole steps until a row, or a column, is in it. */
  reach(axis, place, step) {
    const most = this.names[axis].length - this.size[axis];
    let first = this.first[axis];
    if (place < first) first = clamp(Math.min(place, first - step), 0, most);
    if (place >= first + this.size[axis]) {
      first = clamp(Math.max(place - this.size[axis] + 1, first + step), 0, most);
    }
    if (first === this.first[axis]) return;
    this.first[axis] = first;
    this.build();
    this.draw();
  }

  /** Writes numbers: `row(i)` has those of a whole row. What is `hidden(i, j)` has a mark of its
   * own, NaN is called that. */
  fill(row, options = {}) {
    this.row = row;
    this.options = options;
    this.draw();
  }

  draw() {
    const { hidden = null, marked: followed = -1, digits = 2, text = null, label = null,
      also = null } = this.options;
    const [top, left] = this.first;
    const lines = this.cells.map((cells, i) => (
      Array.from(this.row(top + i).slice(left, left + cells.length))
    ));
    const gone = lines.map((line, i) => line.map((_, j) => Boolean(hidden?.(top + i, left + j))));
    const all = lines.flatMap((line, i) => line.filter((_, j) => !gone[i][j]));
    const write = text ?? column(all, digits);
    const largest = lines.flat().filter(Number.isFinite)
      .reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    lines.forEach((line, i) => {
      this.body.rows[i].className = top + i === followed ? "followed" : "";
      line.forEach((value, j) => {
        const cell = this.cells[i][j];
        const off = gone[i][j];
        const shown = off && value !== -Infinity && this.name === "weights" ? "·" 
          : write(value, top + i, left + j);
        if (cell.textContent !== shown) cell.textContent = shown;
        cell.className = off ? "hidden" : value < 0 ? "below" : "";
        if (label) cell.setAttribute("aria-label", label(top + i, left + j, value));
        if (also) cell.classList.toggle(also.name, also.at(top + i, left + j));
        if (shades.has(this.name)) {
          const heat = Number.isFinite(value) && largest ? Math.abs(value) / largest : 0;
          cell.style.setProperty("--heat", off ? "0" : heat.toFixed(3));
        }
      });
    });
    if (this.turned) this.tellWindow();
  }

  tellWindow() {
    const ends = this.first.map((first, axis) => [first + 1, first + this.size[axis],
      this.names[axis].length]);
    const part = (key, [first, last, count]) => say(key, { first, last, count });
    this.told.textContent = ends.map((end, axis) => (
      part(axis ? "html.columns_shown" : "html.rows_shown", end)
    )).filter((_, axis) => this.size[axis] < this.names[axis].length).join(", ");
    for (const [axis, way, button] of this.buttons) {
      button.disabled = way < 0 ? !this.first[axis] : ends[axis][1] >= ends[axis][2];
    }
  }

  /** Where a cell stands in the window. */
  place(cell) {
    const td = cell.closest("td");
    if (!td || td.closest("thead")) return null;
    return [td.parentNode.rowIndex - 1, td.cellIndex - 1];
  }

  show([row, place]) {
    this.on.show(this.first[0] + row, this.first[1] + place);
  }

  tell(target) {
    const at = this.place(target);
    if (at) this.show(at);
  }

  enter(target) {
    const at = this.place(target);
    if (!at) return;
    this.cells[this.current[0]][this.current[1]].tabIndex = -1;
    this.cells[at[0]][at[1]].tabIndex = 0;
    this.current = at;
    this.show(at);
  }

  press(target) {
    const at = this.place(target);
    if (!at) return;
    this.cells[at[0]][at[1]].focus();
    if (this.on.press) this.on.press(this.first[0] + at[0], this.first[1] + at[1]);
  }

  /** Goes to a row and a column of the whole grid. */
  focus(row, place) {
    const at = [row, place].map((one, axis) => clamp(one, 0, this.names[axis].length - 1));
    at.forEach((one, axis) => this.reach(axis, one, Math.ceil(this.size[axis] / 2)));
    const cell = this.cells[at[0] - this.first[0]][at[1] - this.first[1]];
    cell.focus({ preventScroll: true });
    cell.scrollIntoView({ block: "nearest", inline: "nearest" }); // the whole of it
  }

  key(event) {
    const inside = this.place(event.target);
    if (!inside || event.altKey || event.metaKey) return;
    const at = inside.map((one, axis) => one + this.first[axis]);
    const [rows, columns] = this.names.map((names) => names.length - 1);
    if (event.key in STEPS) {
      this.focus(at[0] + STEPS[event.key][0], at[1] + STEPS[event.key][1]);
    } else if (event.key === "Home") {
      this.focus(event.ctrlKey ? 0 : at[0], 0);
    } else if (event.key === "End") {
      this.focus(event.ctrlKey ? rows : at[0], columns);
    } else if (event.key === "PageUp" || event.key === "PageDown") {
      this.focus(at[0] + this.size[0] * (event.key === "PageUp" ? -1 : 1), at[1]);
    } else if ((event.key === "Enter" || event.key === " ") && this.on.press) {
      this.on.press(...at);
    } else {
      return;
    }
    event.preventDefault();
  }
}
