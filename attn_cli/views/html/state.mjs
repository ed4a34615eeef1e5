// What is chosen, what is changed, and the head that results.

import { decode, real } from "./numbers.mjs";
import { attend } from "./attention.mjs";
import { data } from "./words.mjs";

const WINDOW = 64; // queries, and keys, that a grid shows at once
const decoded = new Map();

export const state = { block: 0, place: 0, query: 0, temperature: null, scale: null,
  flips: new Map() };

/** An embedded array, decoded once. */
export function numbersOf(array) {
  if (!decoded.has(array)) decoded.set(array, decode(array));
  return decoded.get(array);
}

export function block() {
  return data().blocks[state.block];
}

export function side() {
  return data().sides[block().at];
}

function part(array, place) {
  const values = numbersOf(array);
  const size = values.length / array.shape[0];
  return values.subarray(place * size, (place + 1) * size);
}

/** The chosen head: its arrays, and what they are computed with. */
export function head() {
  const of = block();
  const { q, k, v, bias, sink } = of.arrays;
  const names = ["content_to_position", "position_to_content"];
  const terms = names.filter((name) => name in of.arrays);
  const hidden = data().mask_value;
  return {
    rows: of.rows,
    keys: k.shape[1],
    width: q.shape[2],
    value: v.shape[2],
    q: part(q, state.place),
    k: part(k, of.kv[state.place]),
    v: part(v, of.kv[state.place]),
    terms: terms.map((name) => ({ name, values: part(of.arrays[name], state.place) })),
    bias: bias ? part(bias, state.place) : null,
    sink: sink ? numbersOf(sink)[state.place] : null,
    mask: numbersOf(data().masks[of.mask]),
    hidden: hidden === null ? -Infinity : Math.fround(hidden),
    cap: of.cap,
    scale: real(of.scale),
    whole: of.out.whole,
    model: of.out.shape[2],
    out: part(of.out, state.place),
    removed: of.removed.includes(of.heads[state.place]),
  };
}

/** The settings that the weights are computed with. */
export function change() {
  return {
    temperature: state.temperature ?? data().temperature,
    scale: state.scale ?? real(block().scale),
    flips: state.flips,
  };
}

/** The model's own settings, or those that were typed. */
export function unchanged() {
  return { temperature: data().temperature, scale: real(block().scale), flips: new Map() };
}

export function isChanged() {
  return state.temperature !== null || state.scale !== null || state.flips.size > 0;
}

export function reset() {
  state.temperature = null;
  state.scale = null;
  state.flips = new Map();
}

/** Hides a key from a query, or shows it; twice is as before. */
export function flip(query, key) {
  const cell = `${query},${key}`;
  if (!state.flips.delete(cell)) state.flips.set(cell, true);
}

function around(count, at) {
  const first = Math.max(0, Math.min(at - WINDOW / 2, count - WINDOW));
  return Array.from({ length: Math.min(count, WINDOW) }, (_, i) => first + i);
}

/** The places of the queries, and the keys, that grids show: near the followed query. */
export function shown() {
  const { rows } = block();
  const at = rows.indexOf(state.query);
  const keys = side().keys.length;
  return { rows: around(rows.length, at), keys: around(keys, Math.min(state.query, keys - 1)) };
}

/** Steps 3 to 6 of the shown queries, by their places. */
export function computed(of, settings) {
  return new Map(shown().rows.map((row) => [row, attend(of, row, settings)]));
}
