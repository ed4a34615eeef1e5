// The six steps of the chosen head as grids, filled anew when something is changed.

import { el, marked, paragraph, table } from "./dom.mjs";
import { Grid } from "./grid.mjs";
import { column, number, typed } from "./numbers.mjs";
import { block, change, computed, head, isChanged, numbersOf, shown, side, state, unchanged }
  from "./state.mjs";
import * as why from "./why.mjs";
import { data, say } from "./words.mjs";

const FIRST = ["token_embedding", "position_embedding", "type_embedding", "x"];
const SECOND = ["normed", "q_latent", "kv_latent", "q_unrotated", "k_unrotated"];
const CELLS = 2048; // of vectors: of more only the followed token's are shown

/** The sections of the page, and how to fill them. */
export class Steps {
  constructor(root, { onFlip }) {
    this.root = root;
    this.onFlip = onFlip;
  }

  /** Everything anew: another block, head or query. */
  build() {
    this.head = head();
    this.grids = {};
    this.sections = [1, 2, 3, 4, 5, 6].map((step) => this.section(step));
    this.root.replaceChildren(...this.sections.map((section) => section.node));
    this.vectors(1, FIRST);
    this.vectors(2, SECOND);
    this.projections();
    this.squares();
    this.sums();
    this.fill();
  }

  section(step) {
    const told = block().told[step];
    const title = el("h2", {}, el("span", { class: "number" }, String(step)), " ",
      say(`html.step_${step}`));
    const equation = el("p", { class: "equation" }, told.title);
    const said = el("div");
    const body = el("div", { class: "body" });
    const node = el("section", { id: `step-${step}` }, title, equation, said, body);
    return { node, equation, said, body, told };
  }

  put(step, name, caption, rows, columns, on) {
    const grid = new Grid(name, caption, rows, columns, on);
    this.grids[name] = grid;
    this.sections[step - 1].body.append(grid.node);
    return grid;
  }

  caption(name, axes) {
    const marks = block().what_if.includes(name) ? ` · ${say("html.what_if")}` : "";
    return `${name}${marks} · ${axes}`;
  }

  /** Arrays of vectors as they were computed: of the shown tokens, or of the followed one. */
  vectors(step, names) {
    for (const name of names) {
      const array = block().vectors[name];
      if (array) this.vector(step, name, array);
    }
  }

  vector(step, name, array) {
    const { queries, keys } = side();
    const values = numbersOf(array);
    const headed = name.endsWith("unrotated");
    const ofKeys = name.startsWith("k");
    const place = ofKeys ? block().kv[state.place] : state.place;
    const [count, width] = array.length ? [array.shape.at(-1), 1] : array.shape.slice(-2);
    const start = headed ? place * count * width : 0;
    const tokens = ofKeys ? keys : queries;
    const own = ofKeys ? shown().keys : shown().rows.map((row) => block().rows[row]);
    const few = own.length * width > CELLS;
    const rows = few ? own.filter((at) => at === state.query || own.length === 1) : own;
    const lines = (rows.length ? rows : own.slice(-1)).map((at) => (
      [at, Array.from(values.subarray(start + at * width, start + (at + 1) * width))]
    ));
    const columns = array.length ? [say("column.length")] : lines[0][1].map((_, i) => i);
    const axes = few ? say("html.one", { query: tokens[lines[0][0]] }) : say("html.tokens");
    const grid = this.put(step, name, this.caption(name, axes), lines.map(([at]) => tokens[at]),
      columns, { show: (i, j) => {
        const cell = { name, token: tokens[lines[i][0]], column: columns[j],
          value: number(lines[i][1][j]) };
        why.tell(say("html.entry", cell), array.length ? [paragraph(say("html.lengths"))] : []);
      } });
    const followed = lines.findIndex(([at]) => at === state.query);
    grid.fill(lines.map(([, line]) => line), { marked: followed });
  }

  projections() {
    const { queries, keys } = side();
    const own = { q: [shown().rows.map((row) => this.head.rows[row]), queries, this.head.width],
      k: [shown().keys, keys, this.head.width], v: [shown().keys, keys, this.head.value] };
    for (const [name, [at, tokens, width]] of Object.entries(own)) {
      const lines = at.map((i) => this.head[name].subarray(i * width, (i + 1) * width));
      const columns = Array.from({ length: width }, (_, i) => i);
      const grid = this.put(2, name, this.caption(name, say("html.tokens")),
        at.map((i) => tokens[i]), columns, { show: (i, j) => {
          const cell = { name, token: tokens[at[i]], column: j, value: number(lines[i][j]) };
          why.tell(say("html.entry", cell), [paragraph(say(`html.of_${name}`))]);
        } });
      grid.fill(lines, { marked: at.indexOf(state.query) });
    }
  }

  /** The arrays (query, key). */
  squares() {
    const { rows, keys } = shown();
    const names = side();
    const queries = rows.map((row) => names.queries[this.head.rows[row]]);
    const columns = keys.map((key) => names.keys[key]);
    const sunk = this.head.sink === null ? columns : [...columns, say("column.sink")];
    const axes = say("html.square");
    const cell = (name, parts) => (i, j) => {
      const key = j < keys.length ? keys[j] : this.head.keys; // the sink stands last
      const title = say("html.cell", { name, query: queries[i], key: sunk[j] });
      const found = this.found.get(rows[i]);
      why.tell(title, parts(this.head, found, rows[i], key));
    };
    const two = (...args) => [...why.score(...args), ...why.masked(...args)];
    if (this.head.terms.length) {
      for (const name of data().model.terms) {
        this.put(3, name, this.caption(name, axes), queries, columns,
          { show: cell(name, why.score) });
      }
    }
    this.put(3, "scores", this.caption("scores", axes), queries, columns,
      { show: cell("scores", why.score) });
    if (this.head.bias) {
      this.put(4, "bias", this.caption("bias", axes), queries, columns,
        { show: cell("bias", why.masked) });
    }
    this.put(4, "scaled", this.caption("scaled", axes), queries, columns,
      { show: cell("scaled", two) });
    this.sections[3].body.append(paragraph(say("html.press")));
    this.put(4, "visible", this.caption("visible", axes), queries, columns,
      { show: cell("visible", why.masked),
        press: (i, j) => this.onFlip(this.head.rows[rows[i]], keys[j]) });
    const inRow = (...args) => (args[3] < this.head.keys ? why.masked(...args)
      : [paragraph(say("html.sink"))]);
    this.put(4, "masked", this.caption("masked", axes), queries, sunk,
      { show: cell("masked", inRow) });
    this.put(5, "weights", this.caption("weights", axes), queries, sunk,
      { show: cell("weights", why.weight) });
    this.looks = el("div");
    this.sections[4].body.append(this.looks);
  }

  sums() {
    const { rows } = shown();
    const names = rows.map((row) => side().queries[this.head.rows[row]]);
    const entry = (name, parts) => (i, j) => why.tell(
      say("html.entry", { name, token: names[i], column: this.columns[name][j],
        value: number(this.lines[name][i][j]) }),
      parts(this.head, this.found.get(rows[i]), rows[i], j),
    );
    const lengths = [say("column.length")];
    const whole = Array.from({ length: this.head.model }, (_, i) => i);
    this.columns = { z: Array.from({ length: this.head.value }, (_, i) => i),
      head_output: this.head.whole ? whole : lengths };
    this.put(6, "z", this.caption("z", say("html.tokens")), names, this.columns.z,
      { show: entry("z", why.sum) });
    this.sections[5].body.append(paragraph(say(this.head.removed ? "sum.removed" : "sum.pull")));
    this.put(6, "head_output", this.caption("head_output", say("html.tokens")), names,
      this.columns.head_output, { show: entry("head_output", why.output) });
    const output = block().vectors.output;
    this.sections[5].body.append(el("p", { id: "rest" }));
    if (output) this.vector(6, "output", output);
  }

  /** The numbers of steps 3 to 6, under the settings as they are. */
  fill() {
    this.found = computed(this.head, change());
    this.real = isChanged() ? computed(this.head, unchanged()) : this.found;
    const { rows, keys } = shown();
    const found = rows.map((row) => this.found.get(row));
    const followed = rows.findIndex((row) => this.head.rows[row] === state.query);
    const pick = (name) => found.map((one) => keys.map((key) => one[name][key]));
    const own = (values) => rows.map((row) => (
      keys.map((key) => values[row * this.head.keys + key])
    ));
    const columns = keys.length + (this.head.sink === null ? 0 : 1);
    const hidden = (i) => i % columns < keys.length && this.head.hidden === -Infinity
      && !found[Math.floor(i / columns)].visible[keys[i % columns]];
    const options = { marked: followed };
    const sunk = (values, last) => (this.head.sink === null ? values
      : values.map((line, i) => [...line, last(found[i])]));
    const { grids } = this;
    if (this.head.terms.length) {
      grids.content_to_content.fill(pick("content"), options);
      for (const term of this.head.terms) grids[term.name].fill(own(term.values), options);
    }
    grids.scores.fill(pick("scores"), options);
    if (this.head.bias) grids.bias.fill(own(this.head.bias), options);
    grids.scaled.fill(pick("scaled"), options);
    this.fillMask(pick("visible"), options);
    grids.masked.fill(sunk(pick("masked"), () => this.head.sink), { ...options, hidden });
    grids.weights.fill(sunk(pick("weights"), (one) => one.share), { ...options, hidden });
    this.lines = { z: found.map((one) => one.z),
      head_output: found.map((one) => one.pull.vector ?? [one.pull.length]) };
    grids.z.fill(this.lines.z, options);
    grids.head_output.fill(this.lines.head_output, options);
    this.sentences();
  }

  fillMask(visible, options) {
    const { rows, keys } = shown();
    const names = side();
    this.grids.visible.fill(visible, { ...options, text: (value) => (value ? "●" : "·"),
      label: (i, j, value) => {
        const words = { query: names.queries[this.head.rows[rows[i]]], key: names.keys[keys[j]] };
        return say(value ? "html.sees" : "html.sees_not", words);
      } });
    rows.forEach((row, i) => keys.forEach((key, j) => {
      const flipped = state.flips.has(`${this.head.rows[row]},${key}`);
      this.grids.visible.cells[i][j].classList.toggle("flipped", flipped);
    }));
  }

  sentences() {
    this.sections.forEach(({ said, told }, i) => {
      const own = [...(i === 3 ? this.maskWords(told) : []), ...this.row(i + 1)];
      const lines = i === 5 ? [...own, ...told.said] : [...told.said, ...own];
      said.replaceChildren(...lines.map(paragraph));
    });
    const { equation, told } = this.sections[3];
    equation.textContent = state.scale === null ? told.title
      : say("html.scaled", { scale: typed(state.scale) });
    const { temperature } = change();
    const heated = temperature === 0 || temperature === 1 ? "softmax.title"
      : "softmax.title_heated";
    const sink = { "softmax.title": "softmax.title_sink",
      "softmax.title_heated": "softmax.title_heated_sink" }[heated];
    this.sections[4].equation.textContent = say(this.head.sink === null ? heated : sink,
      { temperature: typed(temperature) });
    document.getElementById("rest").replaceChildren(
      ...marked(say(isChanged() ? "html.rest_changed" : "html.rest")));
    this.look();
  }

  maskWords(told) {
    if (state.flips.size) return [say("html.flipped", { count: state.flips.size })];
    const hidden = this.head.mask.reduce((sum, value) => sum + 1 - value, 0);
    const count = say("mask.what", { hidden, cells: this.head.mask.length });
    return hidden ? [count, ...told.mask] : told.mask;
  }

  /** What is said of the followed query alone. */
  row(step) {
    const query = side().queries[state.query];
    const found = this.found.get(this.head.rows.indexOf(state.query));
    if (step === 6) return [say("html.sum_what", { query })];
    if (step === 4 && this.head.sink !== null) {
      return [say("sink.what", { sink: number(this.head.sink, 2) })];
    }
    if (step !== 5) return [];
    const { temperature } = change();
    const said = [say(this.head.sink === null ? "softmax.what" : "softmax.what_sink")];
    if (temperature === 0) return [...said, say("softmax.cold")];
    if (temperature !== 1) said.push(say("softmax.heat", { temperature: typed(temperature) }));
    if (![...found.masked].some((value) => value > -Infinity)) {
      return [...said, say("why.no_row", { query })];
    }
    const sink = this.head.sink === null ? ""
      : say("softmax.sink", { power: number(found.powers[this.head.keys], 2) });
    return [...said, say("softmax.row", { query, top: number(found.top, 2),
      total: number(found.total, 2), sink })];
  }

  /** The followed query's row in words: whom it looks at, the most first, and before. */
  look() {
    const { keys, queries } = side();
    const at = this.head.rows.indexOf(state.query);
    const [found, real] = [this.found.get(at), this.real.get(at)];
    const names = found.share === null ? keys : [...keys, say("column.sink")];
    const list = (one) => [...one.weights, ...(one.share === null ? [] : [one.share])];
    const [now, before] = [list(found), list(real)];
    const order = now.map((_, i) => i)
      .filter((i) => now[i] > 0 || before[i] > 0 || Number.isNaN(now[i]))
      .sort((a, b) => now[b] - now[a] || a - b).slice(0, 12);
    const write = column([...now, ...before], 2);
    const heads = [say("column.key"), say("html.weight_now"),
      ...(isChanged() ? [say("html.weight_before")] : [])];
    const rows = order.map((i) => [names[i], write(now[i]),
      ...(isChanged() ? [write(before[i])] : [])]);
    this.looks.replaceChildren(table(say("html.looks", { query: queries[state.query] }), heads,
      rows));
  }

  /** The change in one sentence: the key that the followed query looks at most. */
  summary() {
    const at = this.head.rows.indexOf(state.query);
    const [found, real] = [this.found.get(at), this.real.get(at)];
    const key = found.weights.indexOf(Math.max(...found.weights));
    return say("html.result", { query: side().queries[state.query], key: side().keys[key],
      now: number(found.weights[key], 2), before: number(real.weights[key], 2),
      length: number(found.pull.length, 2), length_before: number(real.pull.length, 2) });
  }

  /** Arrays (query, …) of the shown queries. */
  numbers() {
    const found = [...this.found.values()];
    const names = ["scores", "scaled", "masked", "weights", "z"];
    const arrays = names.map((name) => [name, found.map((one) => Array.from(one[name]))]);
    const lengths = found.map((one) => one.pull.length);
    const vectors = found.map((one) => one.pull.vector && Array.from(one.pull.vector));
    return { ...Object.fromEntries(arrays), lengths, head_output: vectors,
      share: found.map((one) => one.share) };
  }
}
