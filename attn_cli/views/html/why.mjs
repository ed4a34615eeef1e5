// The arithmetic of one cell, term by term, beside the page.

import { el, marked, paragraph, table } from "./dom.mjs";
import { column, number, real, typed } from "./numbers.mjs";
import { block, change, numbersOf, side, state } from "./state.mjs";
import { data, say } from "./words.mjs";

const DIGITS = 4;
const MOST = 64; // terms of a table; of more the others stand together

export function bracketed(text) {
  return text.startsWith("−") ? `(${text})` : text;
}

/** Named values, and what they add up to. */
export function listed(caption, parts, name, value) {
  const write = column([...parts.map(([, one]) => one), value], 6);
  return [table(caption, ["", say("html.value")], [
    ...parts.map(([label, one]) => [label, write(one)]), [say("why.sum", { name }), write(value)],
  ])];
}

/** Products, the largest first, and their sum. */
export function products(caption, heads, names, left, right, total) {
  const values = Array.from(left, (value, i) => value * right[i]);
  const order = values.map((_, i) => i)
    .sort((a, b) => (Math.abs(values[b]) || 0) - (Math.abs(values[a]) || 0) || a - b);
  const factors = column([...left, ...right], DIGITS);
  const write = column([...values, total.value], DIGITS);
  const told = order.length > MOST + 1 ? order.slice(0, MOST) : order;
  const rows = told.map((i) => [names(i), factors(left[i]), factors(right[i]), write(values[i])]);
  const others = order.slice(told.length);
  if (others.length) {
    const rest = others.reduce((sum, i) => sum + values[i], 0);
    rows.push([say("why.others", { count: others.length }), "", "", write(rest)]);
  }
  rows.push([say("why.sum", { name: total.name }), "", "", write(total.value)]);
  return table(caption, [...heads, say("why.product")], rows);
}

function of(array, token) {
  return say("why.of", { array, token });
}

/** Every term of q · k, and what is added to it where a score is more. */
export function score(head, found, row, key) {
  const { queries, keys } = side();
  const query = head.rows[row];
  const q = head.q.subarray(query * head.width, (query + 1) * head.width);
  const k = head.k.subarray(key * head.width, (key + 1) * head.width);
  const name = head.terms.length ? "content_to_content" : "scores";
  const parts = [
    paragraph(say("why.dot", { query: queries[query], key: keys[key] })),
    products(say("html.products", { query: queries[query], key: keys[key] }),
      [say("why.dimension"), of("q", queries[query]), of("k", keys[key])], String, q, k,
      { name, value: found.content[key] }),
  ];
  if (head.terms.length) {
    const values = [found.content[key], ...head.terms.map((t) => t.values[row * head.keys + key])];
    const write = column([...values, found.scores[key]], DIGITS);
    parts.push(...head.terms.flatMap((term, i) => distance(head, term, query, key, values[i + 1])
      ?? [paragraph(say("html.term", { name: term.name, value: write(values[i + 1]) }))]));
    const terms = values.map((value) => bracketed(write(value))).join(" + ");
    parts.push(paragraph(say("why.scores", { terms, scores: write(found.scores[key]) })));
  }
  return parts;
}

/** A term of the distance as a dot product, where its vectors are there: the row of the table
 * whose product the term is. */
function distance(head, term, query, key, value) {
  const ofQuery = term.name === "content_to_position";
  const stored = block().learned[ofQuery ? "k_position" : "q_position"];
  if (!stored || !value) return null;
  const [, count, width] = stored.shape;
  const start = state.place * count * width;
  const left = ofQuery ? head.q.subarray(query * width, (query + 1) * width)
    : head.k.subarray(key * width, (key + 1) * width);
  const rows = Array.from({ length: count }, (_, i) => (
    numbersOf(stored).subarray(start + i * width, start + (i + 1) * width)
  ));
  const gaps = rows.map((row) => (
    Math.abs(row.reduce((rest, one, i) => rest + one * left[i], -value))
  ));
  const { queries, keys } = side();
  const token = ofQuery ? queries[query] : keys[key];
  return [products(say("html.of_distance", { name: term.name }),
    [say("why.dimension"), of(ofQuery ? "q" : "k", token), say("why.distance")], String, left,
    rows[gaps.indexOf(Math.min(...gaps))], { name: term.name, value })];
}

/** A bias of one cell: a slope times a place, or what was learned for the distance. */
export function biased(head, found, row, key) {
  const { model } = data();
  const value = number(head.bias[row * head.keys + key]);
  const slope = model.slopes[block().heads[state.place]];
  const last = side().keys.length - 1;
  const said = slope === undefined ? say("html.bias_learned", { value })
    : say(`html.bias_${model.alibi}`, { slope: number(slope, 6), key, last, value });
  return [paragraph(said), ...masked(head, found, row, key)];
}

/** Scale, soft cap, bias and mask of one cell. */
export function masked(head, found, row, key) {
  const { queries, keys } = side();
  const words = { query: queries[head.rows[row]], key: keys[key] };
  const { scale } = change();
  const bias = head.bias ? head.bias[row * head.keys + key] : 0;
  const multiplied = Math.fround(found.scores[key] * scale);
  const capped = head.cap ? head.cap * Math.tanh(multiplied / head.cap) : multiplied;
  const write = column([found.scores[key], multiplied, capped, bias, found.scaled[key]], DIGITS);
  const plain = !head.cap && !head.bias;
  const said = [say(plain ? "why.scaled" : "why.multiplied", {
    scores: bracketed(write(found.scores[key])), scale: typed(scale), value: write(multiplied),
  })];
  if (head.cap) {
    said.push(say(head.bias ? "why.capped" : "why.capped_last", {
      cap: typed(head.cap), x: write(multiplied), value: write(capped),
    }));
  }
  if (head.bias) {
    said.push(say("why.biased", {
      x: write(capped), bias: bracketed(write(bias)), value: write(found.scaled[key]),
    }));
  }
  const hidden = head.hidden === -Infinity ? "−∞" : typed(head.hidden);
  said.push(found.visible[key] ? say("why.visible", words)
    : say("html.hidden", { ...words, masked: hidden }));
  return said.map(paragraph);
}

/** Whether a query sees no key at all. */
export function blind(found) {
  return found.masked.every((value) => value === -Infinity);
}

/** The softmax of a query's row, and where one of its keys stands in it. */
export function weight(head, found, row, key) {
  const { queries, keys } = side();
  const query = queries[head.rows[row]];
  const names = head.sink === null ? keys : [...keys, say("column.sink")];
  const values = head.sink === null ? [...found.masked] : [...found.masked, head.sink];
  const own = values.map((_, i) => i).filter((i) => values[i] !== -Infinity);
  if (!own.length) return [paragraph(say("why.no_row", { query }))];
  const order = own.sort((a, b) => found.powers[b] - found.powers[a] || a - b);
  const { temperature } = change();
  const write = column(own.map((i) => values[i]), DIGITS);
  const shifted = column(own.map((i) => values[i] - found.top), DIGITS);
  const powers = column([...found.powers, found.total], DIGITS);
  const shares = [...found.weights, ...(found.share === null ? [] : [found.share])];
  const share = column(shares, DIGITS);
  const heat = temperature === 1 ? say("why.power")
    : temperature ? say("why.power_heated", { temperature: typed(temperature) })
      : say("why.power_cold");
  const told = order.length > MOST + 1 ? order.slice(0, MOST) : order;
  const rows = told.map((i) => [names[i], write(values[i]), shifted(values[i] - found.top),
    powers(found.powers[i]), share(shares[i])]);
  const others = order.slice(told.length);
  if (others.length) {
    const sum = (list) => others.reduce((all, i) => all + list[i], 0);
    rows.push([say("why.others", { count: others.length }), "", "", powers(sum(found.powers)),
      share(sum(shares))]);
  }
  rows.push([say("html.sum"), "", "", powers(found.total), ""]);
  const said = values[key] === -Infinity ? say("why.weight_hidden", { key: names[key] })
    : say("why.weight", { power: powers(found.powers[key]), total: powers(found.total),
      weight: share(shares[key]) });
  return [
    table(say("html.row", { query }),
      [say("column.key"), "masked", say("why.shifted"), heat, "weights"], rows),
    paragraph(said),
  ];
}

/** One number of z: every weight times that number of the key's value. */
export function weighed(head, found, row, index) {
  const { queries, keys } = side();
  const seen = keys.map((_, key) => key)
    .filter((key) => found.visible[key] || head.hidden !== -Infinity);
  const left = seen.map((key) => found.weights[key]);
  const right = seen.map((key) => head.v[key * head.value + index]);
  const query = queries[head.rows[row]];
  return [products(say("html.summed", { query, column: index }),
    [say("column.key"), say("column.weight"), `v ${index}`], (i) => keys[seen[i]], left, right,
    { name: "z", value: found.z[index] })];
}

/** One number of head_output: z times a column of this head's slice of W_O. */
export function output(head, found, row, index) {
  const query = side().queries[head.rows[row]];
  if (head.removed) return [paragraph(say("sum.removed"))];
  if (!head.whole) {
    return [paragraph(say("html.length", { query, length: number(found.pull.length) }))];
  }
  const right = Array.from(found.z, (_, i) => head.out[i * head.model + index]);
  return [products(say("html.pulled", { query, column: index }),
    [say("why.dimension"), of("z", query), "W_O"], String, found.z, right,
    { name: "head_output", value: found.pull.vector[index] })];
}

/** A logit: the dot product of `final` and the token's row of the output matrix, and what the model
 * does with it. */
export function logit(entry, final, vectors, place) {
  const width = final.length;
  const row = vectors.subarray(place * width, (place + 1) * width);
  const { text: token, logit: last } = entry.candidates[place];
  const { logit_scale: scale, logit_cap: cap } = data().model;
  const bias = entry.biases[place] ?? null;
  const value = row.reduce((sum, one, i) => sum + one * final[i], 0);
  const parts = [products(say("html.logit", { token }), [say("why.dimension"), "final", token],
    String, final, row, { name: say("html.dot"), value })];
  const words = { x: bracketed(number(value)), value: number(real(last)),
    scale: scale === 1 ? "" : say("html.logit_scale", { scale: typed(scale) }),
    bias: bias === null ? "" : say("html.logit_bias", { bias: bracketed(number(bias)) }) };
  if (cap) parts.push(paragraph(say("html.logit_capped", { ...words, cap: typed(cap) })));
  else if (bias !== null || scale !== 1) parts.push(paragraph(say("html.logit_is", words)));
  return parts;
}

/** A power of e, or a probability: its share of all powers. */
export function shareOf(entry, place, column_) {
  const one = entry.candidates[place];
  const write = (value) => number(real(value));
  const words = { logit: write(one?.logit ?? null), top: write(entry.top),
    power: write(entry.powers[place]), total: write(entry.total),
    value: write((one ?? entry.others).share) };
  if (!one) return [paragraph(say("html.others", words))];
  return [paragraph(say(column_ === 1 ? "html.power" : "html.share_is", words))];
}

let last = null;

/** Shows the arithmetic of a cell under its name: `make` gives both. */
export function tell(make) {
  last = make;
  again();
}

/** The same cell with the numbers that there are now. */
export function again() {
  const [title, parts] = last();
  const cell = el("p", { class: "cell" }, ...marked(title));
  document.getElementById("why").replaceChildren(el("h2", {}, say("html.why")), cell, ...parts);
}

/** What the panel holds before a cell is chosen. */
export function invite() {
  const keys = data().next.length ? say("html.invite_next") : "";
  tell(() => ["", [paragraph(say("html.invite") + keys)]]);
}
