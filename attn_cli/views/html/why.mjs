// The arithmetic of one cell, term by term, beside the page.

import { el, marked, paragraph, table } from "./dom.mjs";
import { column, number, typed } from "./numbers.mjs";
import { change, side } from "./state.mjs";
import { data, say } from "./words.mjs";

const DIGITS = 4;

function bracketed(text) {
  return text.startsWith("−") ? `(${text})` : text;
}

/** Products, the largest first, and their sum. */
function products(caption, heads, names, left, right, total) {
  const values = Array.from(left, (value, i) => value * right[i]);
  const order = values.map((_, i) => i)
    .sort((a, b) => (Math.abs(values[b]) || 0) - (Math.abs(values[a]) || 0) || a - b);
  const factors = column([...left, ...right], DIGITS);
  const write = column([...values, total.value], DIGITS);
  const rows = order.map((i) => [names(i), factors(left[i]), factors(right[i]), write(values[i])]);
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
    parts.push(...head.terms.map((term, i) => (
      paragraph(say("html.term", { name: term.name, value: write(values[i + 1]) }))
    )));
    const terms = values.map((value) => bracketed(write(value))).join(" + ");
    parts.push(paragraph(say("why.scores", { terms, scores: write(found.scores[key]) })));
  }
  return parts;
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
  const rows = order.map((i) => [names[i], write(values[i]), shifted(values[i] - found.top),
    powers(found.powers[i]), share(shares[i])]);
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
export function sum(head, found, row, index) {
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

/** A logit: the dot product of `final` and the token's row of the output matrix. */
export function logit(entry, final, vectors, place) {
  const width = final.length;
  const row = vectors.subarray(place * width, (place + 1) * width);
  const token = entry.candidates[place].text;
  let value = 0;
  for (let i = 0; i < width; i += 1) value += final[i] * row[i];
  return [products(say("html.logit", { token }), [say("why.dimension"), "final", token], String,
    final, row, { name: say("html.dot"), value })];
}

/** Shows the arithmetic of a cell under its name. */
export function tell(title, parts) {
  const panel = document.getElementById("why");
  const cell = el("p", { class: "cell" }, ...marked(title));
  panel.replaceChildren(el("h2", {}, say("html.why")), cell, ...parts);
}

/** What the panel holds before a cell is chosen. */
export function invite() {
  const keys = data().next.length ? say("html.invite_next") : "";
  tell("", [paragraph(say("html.invite") + keys)]);
}
