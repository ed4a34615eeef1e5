// What is chosen, what is changed, and the head that results.

import { decode, real } from "./numbers.mjs";
import { attend } from "./attention.mjs";
import { data } from "./words.mjs";

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

/** A head of the chosen block: its arrays, and what they are computed with. */
export function headAt(place) {
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
    q: part(q, place),
    k: part(k, of.kv[place]),
    v: part(v, of.kv[place]),
    terms: terms.map((name) => ({ name, values: part(of.arrays[name], place) })),
    bias: bias ? part(bias, place) : null,
    sink: sink ? numbersOf(sink)[place] : null,
    mask: numbersOf(data().masks[of.mask]),
    hidden: hidden === null ? -Infinity : Math.fround(hidden),
    cap: of.cap,
    scale: real(of.scale),
    whole: of.out.whole,
    model: of.out.shape[2],
    out: part(of.out, place),
    removed: of.removed.includes(of.heads[place]),
  };
}

/** The chosen head. */
export function head() {
  return headAt(state.place);
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

/** The arrays that a change here touches: all from the first one on. */
export function touched() {
  const arrays = ["scaled", "visible", "masked", "weights", "z", "head_output"];
  if (state.scale !== null) return arrays;
  if (state.flips.size) return arrays.slice(1);
  return state.temperature === null ? [] : arrays.slice(3);
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

/** Steps 3 to 6 of each query, by its place, computed when it is asked for. */
export function computed(of, settings) {
  const found = new Map();
  return { get(row) {
    if (!found.has(row)) found.set(row, attend(of, row, settings));
    return found.get(row);
  } };
}
