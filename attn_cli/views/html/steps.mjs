// The six steps of the chosen head as grids, filled anew when something is changed.

import { el, marked, paragraph, table } from "./dom.mjs";
import { Grid } from "./grid.mjs";
import * as made from "./made.mjs";
import { column, number, typed } from "./numbers.mjs";
import { block, change, computed, head, isChanged, numbersOf, side, state, touched, unchanged }
  from "./state.mjs";
import * as why from "./why.mjs";
import { data, say } from "./words.mjs";

const FIRST = ["token_embedding", "position_embedding", "type_embedding", "x", "key_x"];
const SECOND = ["normed", "q_latent", "kv_latent", "q_unrotated", "k_unrotated"];

/** The weights of a row, and behind them the share of the sink if there is one. */
function shares(found) {
  return [...found.weights, ...(found.share === null ? [] : [found.share])];
}

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
    for (const name of FIRST) this.vectors(1, name);
    for (const name of SECOND) this.vectors(2, name);
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

  put(step, name, axes, rows, columns, on, start) {
    const grid = new Grid(name, this.caption(name, axes), rows, columns, on, start);
    grid.axes = axes;
    this.grids[name] = grid;
    this.sections[step - 1].body.append(grid.node);
    return grid;
  }

  caption(name, axes) {
    const what = touched().includes(name) || block().what_if.includes(name);
    return `${name}${what ? ` · ${say("html.what_if")}` : ""} · ${axes}`;
  }

  /** The names of the queries that the block has rows of. */
  queries() {
    return this.head.rows.map((row) => side().queries[row]);
  }

  /** An array of vectors as it was computed, or their lengths. */
  vectors(step, name) {
    const array = block().vectors[name];
    if (!array) return;
    const ofKeys = name.startsWith("k");
    const values = numbersOf(array);
    const [count, width] = array.length ? [array.shape.at(-1), 1] : array.shape.slice(-2);
    const place = ofKeys ? block().kv[state.place] : state.place;
    const start = name.endsWith("unrotated") ? place * count * width : 0;
    const tokens = ofKeys ? side().keys : side().queries;
    const own = ofKeys ? side().shown : this.head.rows;
    const row = (i) => values.subarray(start + own[i] * width, start + (own[i] + 1) * width);
    const columns = array.length ? [say("column.length")]
      : Array.from({ length: width }, (_, i) => i);
    this.told(step, name, { row, own, tokens, columns, parts: array.length
      ? () => [paragraph(say("html.lengths"))] : (at, j) => made.entry(name, this.head, at, j) });
  }

  /** The grid of vectors of tokens; a cell tells of itself in `parts` of position and column. */
  told(step, name, { row, own, tokens, columns, parts }) {
    const followed = own.indexOf(state.query);
    const show = (i, j) => {
      const cell = { name, token: tokens[own[i]], column: columns[j], value: number(row(i)[j]) };
      why.tell(() => [say("html.entry", cell), parts(own[i], j)]);
    };
    const grid = this.put(step, name, say("html.tokens"), own.map((at) => tokens[at]), columns,
      { show }, [followed < 0 ? own.length : followed, 0]);
    grid.fill(row, { marked: followed });
  }

  projections() {
    const { queries, keys, shown } = side();
    const own = { q: [this.head.rows, queries, this.head.width],
      k: [shown, keys, this.head.width], v: [shown, keys, this.head.value] };
    for (const [name, [at, tokens, width]] of Object.entries(own)) {
      const columns = Array.from({ length: width }, (_, i) => i);
      const row = (i) => this.head[name].subarray(at[i] * width, (at[i] + 1) * width);
      this.told(2, name, { row, own: at, tokens, columns, parts: (position, j) => (
        [paragraph(say(`html.of_${name}`)), ...made.entry(name, this.head, position, j)]) });
    }
  }

  /** The arrays (query, key), of the keys that are shown; the sink stands behind all keys. */
  squares() {
    const { keys: names, shown } = side();
    const queries = this.queries();
    this.places = this.head.sink === null ? shown : [...shown, this.head.keys];
    const keys = shown.map((key) => names[key]);
    const sunk = this.head.sink === null ? keys : [...keys, say("column.sink")];
    const axes = say(block().crosses ? "html.square_cross" : "html.square");
    const start = [this.head.rows.indexOf(state.query), Math.max(0, shown.indexOf(state.query))];
    const put = (step, name, columns, parts, on = {}) => {
      const show = (row, place) => {
        const title = say("html.cell", { name, query: queries[row], key: sunk[place] });
        why.tell(() => [title, parts(this.head, this.found.get(row), row, this.places[place])]);
      };
      this.put(step, name, axes, queries, columns, { show, ...on }, start);
    };
    const two = (...args) => [...why.score(...args), ...why.masked(...args)];
    if (this.head.terms.length) {
      for (const name of data().model.terms) put(3, name, keys, why.score);
    }
    put(3, "scores", keys, why.score);
    if (this.head.bias) put(4, "bias", keys, why.biased);
    put(4, "scaled", keys, two);
    this.sections[3].body.append(paragraph(say("html.press")));
    put(4, "visible", keys, why.masked,
      { press: (row, place) => this.onFlip(this.head.rows[row], shown[place]) });
    const inRow = (...args) => (args[3] < this.head.keys ? why.masked(...args)
      : [paragraph(say("html.sink"))]);
    put(4, "masked", sunk, inRow);
    put(5, "weights", sunk, why.weight);
    this.looks = el("div");
    this.sections[4].body.append(this.looks);
  }

  sums() {
    const names = this.queries();
    const start = [this.head.rows.indexOf(state.query), 0];
    const whole = Array.from({ length: this.head.model }, (_, i) => i);
    const columns = { z: Array.from({ length: this.head.value }, (_, i) => i),
      head_output: this.head.whole ? whole : [say("column.length")] };
    this.lines = { z: (row) => this.found.get(row).z, head_output: (row) => {
      const { vector, length } = this.found.get(row).pull;
      return vector ?? [length];
    } };
    const entry = (name, parts) => (row, j) => why.tell(() => [
      say("html.entry", { name, token: names[row], column: columns[name][j],
        value: number(this.lines[name](row)[j]) }),
      parts(this.head, this.found.get(row), row, j),
    ]);
    const ofZ = { show: entry("z", why.weighed) };
    this.put(6, "z", say("html.tokens"), names, columns.z, ofZ, start);
    this.sections[5].body.append(paragraph(say(this.head.removed ? "sum.removed" : "sum.pull")));
    this.put(6, "head_output", say("html.tokens"), names, columns.head_output,
      { show: entry("head_output", why.output) }, start);
    this.sections[5].body.append(el("p", { id: "rest" }));
    this.vectors(6, "output");
  }

  /** The numbers of steps 3 to 6, under the settings as they are. */
  fill() {
    const { grids, head: of } = this;
    this.found = computed(of, change());
    this.real = isChanged() ? computed(of, unchanged()) : this.found;
    const options = { marked: of.rows.indexOf(state.query) };
    const { shown } = side();
    const own = (values) => (row) => shown.map((key) => values[row * of.keys + key]);
    const pick = (name) => (row) => shown.map((key) => this.found.get(row)[name][key]);
    const sunk = (name, last) => (of.sink === null ? pick(name)
      : (row) => [...pick(name)(row), last(this.found.get(row))]);
    const hidden = (row, place) => place < shown.length && of.hidden === -Infinity
      && !this.found.get(row).visible[shown[place]];
    if (of.terms.length) {
      grids.content_to_content.fill(pick("content"), options);
      for (const term of of.terms) grids[term.name].fill(own(term.values), options);
    }
    grids.scores.fill(pick("scores"), options);
    if (of.bias) grids.bias.fill(own(of.bias), options);
    grids.scaled.fill(pick("scaled"), options);
    this.fillMask(pick("visible"), options);
    grids.masked.fill(sunk("masked", () => of.sink), { ...options, hidden });
    grids.weights.fill(sunk("weights", (one) => one.share), { ...options, hidden });
    grids.z.fill(this.lines.z, options);
    grids.head_output.fill(this.lines.head_output, options);
    for (const [name, grid] of Object.entries(grids)) grid.title(this.caption(name, grid.axes));
    this.sentences();
  }

  fillMask(visible, options) {
    const { queries, keys, shown } = side();
    const { rows } = this.head;
    this.grids.visible.fill(visible, { ...options, text: (value) => (value ? "●" : "·"),
      label: (row, place, value) => {
        const words = { query: queries[rows[row]], key: keys[shown[place]] };
        return say(value ? "html.sees" : "html.sees_not", words);
      },
      also: { name: "flipped",
        at: (row, place) => state.flips.has(`${rows[row]},${shown[place]}`) } });
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
    if (why.blind(found)) return [...said, say("why.no_row", { query })];
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
    const [now, before] = [found, real].map(shares);
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

  /** The change in one sentence: the key, or the sink, that the followed query looks at most. */
  summary() {
    const at = this.head.rows.indexOf(state.query);
    const [found, real] = [this.found.get(at), this.real.get(at)];
    const words = { query: side().queries[state.query], length: number(found.pull.length, 2),
      length_before: number(real.pull.length, 2) };
    if (why.blind(found)) return say("html.result_none", words);
    const [now, before] = [found, real].map(shares);
    const most = now.indexOf(Math.max(...now));
    if (most < 0) return say("html.result_nan", words);
    return say("html.result", { ...words, key: side().keys[most] ?? say("column.sink"),
      now: number(now[most], 2), before: number(before[most], 2) });
  }

  /** Arrays (query, …) of all queries that there are. */
  numbers() {
    const found = this.head.rows.map((_, row) => this.found.get(row));
    const names = ["scores", "scaled", "masked", "weights", "z"];
    const arrays = names.map((name) => [name, found.map((one) => Array.from(one[name]))]);
    const lengths = found.map((one) => one.pull.length);
    const vectors = found.map((one) => one.pull.vector && Array.from(one.pull.vector));
    return { ...Object.fromEntries(arrays), lengths, head_output: vectors,
      share: found.map((one) => one.share) };
  }
}
