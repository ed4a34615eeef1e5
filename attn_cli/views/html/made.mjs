// How an entry of a vector came to be: of the embedding's parts, a norm, a projection, a rotation,
// or the sum of all heads. The order is that of attn_cli/analysis/entry.py.

import { paragraph } from "./dom.mjs";
import { pull } from "./attention.mjs";
import { number, typed } from "./numbers.mjs";
import { block, computed, headAt, numbersOf, side, state, unchanged } from "./state.mjs";
import { bracketed, products, listed } from "./why.mjs";
import { data, say } from "./words.mjs";

const DIGITS = 6;
const PARTS = ["token_embedding", "position_embedding", "type_embedding"];

/** The vector of an array at a position. */
function vector(name, at) {
  const array = block().vectors[name];
  if (!array || array.length) return null;
  const width = array.shape.at(-1);
  return numbersOf(array).subarray(at * width, (at + 1) * width);
}

/** A matrix, or a bias, that was learned: of one head where each has its own. */
function learned(name, place = 0) {
  const array = block().learned[name];
  if (!array) return null;
  const own = array.shape.length > (name.startsWith("w_") ? 2 : 1);
  const values = numbersOf(array);
  const size = own ? values.length / array.shape[0] : values.length;
  return values.subarray(own ? place * size : 0, (own ? place : 0) * size + size);
}

function across(matrix, column, width, count) {
  return Array.from({ length: count }, (_, i) => matrix[i * width + column]);
}

function dot(left, right) {
  return right.reduce((sum, value, i) => sum + left[i] * value, 0);
}

function meanAndRoot(values, kind, epsilon = data().model.epsilon) {
  const list = Array.from(values);
  const mean = kind === "layer" ? list.reduce((a, b) => a + b, 0) / list.length : 0;
  const square = list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length;
  return [mean, Math.sqrt(square + epsilon)];
}

/** (x − mean) ÷ root × weight + bias, with what is known of these. */
function norm(name, input, values, column, result, kind, [weight, bias], epsilon) {
  const [mean, root] = meanAndRoot(values, kind, epsilon);
  const write = (value) => bracketed(number(value, DIGITS));
  const known = weight !== null || !data().model.affine;
  const made = (((values[column] - mean) / root) * (weight ?? 1)) + (bias ?? 0);
  const part = (sign, value) => (value === null ? "" : ` ${sign} ${write(value)}`);
  const words = { name, of: input, value: number(known ? made : result, DIGITS),
    minus: kind === "layer" ? say("html.norm_mean") : "",
    times: weight === null ? "" : say("html.norm_weight"),
    plus: bias === null ? "" : say("html.norm_bias"),
    sum: `(${number(values[column], DIGITS)}${part("−", kind === "layer" ? mean : null)}) ÷ `
      + `${number(root, DIGITS)}${part("×", weight)}${part("+", bias)}` };
  return [paragraph(say(known ? "html.norm" : "html.norm_unknown", words))];
}

function looked(name) {
  return () => [paragraph(say(`html.of_${name}`))];
}

/** The sum of several vectors at a column. */
function summed(name, parts, column, value) {
  return listed(say("html.sum_of", { name, column }), parts.map(([label, values]) => (
    [label, values[column]])), name, value);
}

function entering(head, at, column) {
  const value = vector("x", at)[column];
  const { enters } = block();
  const { embedding } = data().model;
  if (enters) {
    const width = block().vectors.x.shape.at(-1);
    const parts = enters.map(([label, array]) => [label,
      numbersOf(array).subarray(at * width, (at + 1) * width)]);
    return summed("x", parts, column, value);
  }
  if (!block().first || block().crosses) return [paragraph(say("html.x_given"))];
  const parts = PARTS.filter((name) => vector(name, at)).map((name) => [name, vector(name, at)]);
  if (embedding === "token") return looked("token_embedding")();
  if (!parts.length || embedding.endsWith("projected")) return [paragraph(say("html.x_made"))];
  if (embedding !== "normed" && embedding !== "sum_normed") {
    return summed("x", parts, column, value);
  }
  const total = parts[0][1].map((_, i) => parts.reduce((sum, [, values]) => sum + values[i], 0));
  const own = block().vectors.normed ? [null, null] : weights("w_norm", "b_norm", column);
  const names = parts.map(([name]) => name).join(" + ");
  return [...(parts.length > 1 ? summed(names, parts, column, total[column]) : []),
    ...norm("x", names, total, column, value, data().model.norm, own)];
}

function weights(weight, bias, column) {
  const [w, b] = [learned(weight), learned(bias)];
  return [w ? w[column] : null, b?.length ? b[column] : null];
}

function normed(head, at, column) {
  const x = vector("x", at);
  const value = vector("normed", at)[column];
  return norm("normed", "x", x, column, value, data().model.norm,
    weights("w_norm", "b_norm", column));
}

/** A latent: an RMS norm of a map of `normed`. */
function latent(letter) {
  const told = letter === "q" ? "why.q_latent" : "why.kv_latent";
  return (head, at, column) => {
    const name = `${letter}_latent`;
    const [input, w] = [vector(inputOf(), at), learned(`w_${letter}_down`)];
    if (!input || !w) return [paragraph(say(told)), paragraph(say("html.no_map"))];
    const b = learned(`b_${letter}_down`);
    const width = w.length / input.length;
    const raw = Array.from({ length: width }, (_, j) => (
      dot(input, across(w, j, width, input.length)) + (b?.length ? b[j] : 0)));
    const norms = learned(`w_${letter}_latent_norm`);
    return [paragraph(say(told)),
      ...multiplied(inputOf(), at, input, w, column, width, b),
      ...norm(name, say("html.product"), raw, column, vector(name, at)[column], "rms",
        [norms ? norms[column] : null, null], data().model.latent_epsilon)];
  };
}

function inputOf() {
  return block().vectors.normed ? "normed" : "x";
}

/** The sum of products of a vector with a column of a matrix, and its bias. */
function multiplied(name, at, input, matrix, column, width, bias) {
  const own = across(matrix, column, width, input.length);
  const token = name === "key_x" || name === "kv_latent" ? side().keys[at] : side().queries[at];
  const total = dot(input, own);
  const parts = [products(say("html.mapped", { name, column }),
    [say("why.dimension"), say("why.of", { array: name, token }), "W"], String, input, own,
    { name: `${name}·W`, value: total })];
  if (bias?.length) {
    parts.push(paragraph(say("why.plus_bias", { x: number(total, DIGITS),
      bias: bracketed(number(bias[column], DIGITS)),
      value: number(total + bias[column], DIGITS) })));
  }
  return parts;
}

/** Of what array, by which map, and from which of its columns on an entry of q, k or v is made. */
function source(letter, column) {
  const { model } = data();
  if (letter === "q" && model.q_latent) return ["q_latent", "q_latent", 0];
  if (letter === "v" && model.kv_latent) return ["kv_latent", "v_latent", 0];
  if (letter === "k" && model.kv_latent && column < model.rotated_from) {
    return ["kv_latent", "k_latent", 0];
  }
  const input = letter !== "q" && block().crosses ? "key_x" : inputOf();
  return letter === "k" && model.kv_latent ? [input, "k_rotated", model.rotated_from]
    : [input, letter, 0];
}

/** What a map makes of a token, for all heads of the page: a list of each head's vector. */
function mapped(letter, map, input, count) {
  return Array.from({ length: count }, (_, place) => {
    const w = learned(`w_${map}`, place);
    const b = learned(`b_${map}`, place);
    const width = w.length / input.length;
    return Array.from({ length: width }, (_unused, j) => {
      const sum = dot(input, across(w, j, width, input.length)) + (b?.length ? b[j] : 0);
      const { clipped } = data().model;
      return clipped ? Math.min(Math.max(sum, -clipped), clipped) : sum;
    });
  });
}

/** An entry of q, k or v as the map makes it, and what a norm and a rotation make of that. */
function projected(letter, head, at, column, last) {
  const [name, map, first] = source(letter, column);
  const place = letter === "q" ? state.place : block().kv[state.place];
  const input = vector(name, at);
  const w = learned(`w_${map}`, place);
  if (!input || !w) return [paragraph(say("html.no_map"))];
  const b = learned(`b_${map}`, place);
  const width = w.length / input.length;
  const parts = multiplied(name, at, input, w, column - first, width, b);
  const { model } = data();
  const own = input ? mapped(letter, map, input, map === letter ? counts(letter) : 1) : [];
  const raw = own[map === letter ? place : 0];
  if (model.clipped && !(model.head_norm && letter !== "v")) {
    parts.push(paragraph(say("html.clipped", { clip: typed(model.clipped),
      value: number(raw[column - first], DIGITS) })));
  }
  if (letter === "v" || !model.head_norm) return parts;
  if (model.clipped) return [...parts, paragraph(say("html.norm_then_clipped"))];
  if (model.head_norm === "rotated") return [...parts, paragraph(say("html.then_rotated"))];
  if (model.head_norm === "all" && !block().every) {
    return [...parts, paragraph(say("html.norm_of_all"))];
  }
  const over = model.head_norm === "all" ? own.flat() : raw;
  const index = model.head_norm === "all" ? place * width + column : column;
  return [...parts, ...norm(letter, say("html.product"), over, index, last, model.norm,
    quotient(letter, over, index, last, column))];
}

/** The learned weight of a norm, as the quotient that it is, and its bias. */
function quotient(letter, over, index, last, column) {
  const biases = block().norm_bias[letter];
  const bias = biases ? numbersOf(biases)[column] : null;
  const [mean, root] = meanAndRoot(over, data().model.norm);
  return [((last - (bias ?? 0)) * root) / (over[index] - mean), bias];
}

function counts(letter) {
  return block().learned[`w_${letter}`].shape[0];
}

/** The rotation of two dimensions by the angle of a position; those that do not rotate stay. */
function turn(letter, at, column, width) {
  const { angles, factor, growth } = block().turn;
  const { rotated: count, rotated_from: start, interleaved } = data().model;
  const array = block().vectors[`${letter}_unrotated`];
  const place = letter === "q" ? state.place : block().kv[state.place];
  const before = numbersOf(array).subarray((place * array.shape[1] + at) * width);
  const own = column - start;
  if (own < 0 || own >= count) return { value: before[column], partner: -1 };
  const pairs = angles.shape[1];
  const pair = interleaved ? Math.floor(own / 2) : own % pairs;
  const first = start + (interleaved ? 2 * pair : pair);
  const isFirst = column === first;
  const partner = isFirst ? first + (interleaved ? 1 : pairs) : first;
  const angle = numbersOf(angles)[at * pairs + pair];
  const grown = letter === "q" && growth ? numbersOf(growth)[at] : 1;
  const [x, other] = [before[column], before[partner]];
  const turned = x * Math.cos(angle) + (isFirst ? -1 : 1) * other * Math.sin(angle);
  return { x, other, partner, angle, isFirst, factor, grown, value: turned * factor * grown };
}

function rotated(letter, at, column, width, last) {
  const found = turn(letter, at, column, width);
  const { x, other, partner, angle, isFirst, factor, grown, value } = found;
  if (partner < 0) return [paragraph(say("html.unrotated", { column }))];
  const write = (one) => number(one, DIGITS);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)].map(write);
  return [
    paragraph(say("why.turned", { column, partner, value: write(other), angle: write(angle),
      cos, sin })),
    paragraph(say("why.rotated", { array: last ? letter : say("why.rotated_first"), x: write(x),
      cos: bracketed(cos), sign: isFirst ? "−" : "+", partner: bracketed(write(other)),
      sin: bracketed(sin), value: write(value),
      factor: factor === 1 ? "" : say("why.factor", { factor: typed(factor) }),
      growth: grown === 1 ? "" : say("why.growth", { growth: typed(grown) }) })),
  ];
}

/** An entry of q, k or v: rotated where the block rotates, or as the map makes it. */
function final(letter) {
  return (head, at, column) => {
    const width = letter === "v" ? head.value : head.width;
    const value = head[letter][at * width + column];
    const { head_norm: kind } = data().model;
    if (letter === "v" || !block().vectors[`${letter}_unrotated`]) {
      return projected(letter, head, at, column, value);
    }
    if (!block().turn) return [paragraph(say("html.no_angles"))];
    if (kind !== "rotated") return rotated(letter, at, column, width, true);
    const whole = Array.from({ length: width }, (_, i) => turn(letter, at, i, width).value);
    return [...rotated(letter, at, column, width, false),
      ...norm(letter, say("why.rotated_first"), whole, column, value, data().model.norm,
        quotient(letter, whole, column, value, column))];
  };
}

function unrotated(letter) {
  return (head, at, column) => {
    const { shape } = block().vectors[`${letter}_unrotated`];
    const place = letter === "q" ? state.place : block().kv[state.place];
    const before = numbersOf(block().vectors[`${letter}_unrotated`]);
    return projected(letter, head, at, column, before[(place * shape[1] + at) * shape[2] + column]);
  };
}

/** The sum of all heads, and the bias. */
function output(head, at, column) {
  const value = vector("output", at)[column];
  const row = block().rows.indexOf(at);
  if (!block().every || !head.whole) return [paragraph(say("html.output_of_all"))];
  const parts = block().heads.map((number_, place) => {
    const one = headAt(place);
    const { z } = computed(one, unchanged()).get(row);
    return [say("column.head", { head: number_ }), pull(one, z).vector];
  });
  const bias = learned("b_o");
  if (bias?.length) parts.push([say("why.bias", { column }), bias]);
  return summed("output", parts, column, value);
}

const TOLD = {
  token_embedding: looked("token_embedding"), position_embedding: looked("position_embedding"),
  type_embedding: looked("type_embedding"), key_x: looked("key_x"), x: entering, normed,
  mlp_output: looked("mlp_output"), q_latent: latent("q"), kv_latent: latent("kv"),
  q_unrotated: unrotated("q"), k_unrotated: unrotated("k"), q: final("q"), k: final("k"),
  v: final("v"), output,
};

/** What the panel says of the entry of an array at a position and a column. */
export function entry(name, head, at, column) {
  if (data().model.partial && name !== "output") return [paragraph(say("html.no_facts"))];
  return TOLD[name](head, at, column);
}
