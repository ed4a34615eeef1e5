// From the block's output to the prediction: what each layer adds, and how the logits come about.

import { el, paragraph, table } from "./dom.mjs";
import { Grid } from "./grid.mjs";
import { column, number, real } from "./numbers.mjs";
import { block, isChanged, numbersOf, side, state } from "./state.mjs";
import * as why from "./why.mjs";
import { data, say } from "./words.mjs";

/** The lengths of x and of what is added to it, layer by layer, for the followed query. */
function stream() {
  const own = data().blocks.filter((one) => one.at === block().at && one.stream.names);
  if (!own.length) return [];
  const names = own[0].stream.names;
  const rows = own.map((one) => {
    const count = one.stream.lengths.shape[1];
    const values = names.map((_, i) => numbersOf(one.stream.lengths)[i * count + state.query]);
    return [one.name, values];
  });
  const write = column(rows.flatMap(([, values]) => values), 2);
  const heads = names.map((name) => say(`html.stream_${name}`));
  const query = side().queries[state.query];
  return [
    paragraph(say("html.stream")),
    table(say("html.stream_of", { query }), [say("html.layer"), ...heads],
      rows.map(([name, values]) => [name, ...values.map(write)])),
  ];
}

function candidates(entry) {
  const rows = entry.candidates;
  const ended = Boolean(entry.final);
  const names = [...rows.map((one) => one.text), ...(ended ? [entry.others.text] : [])];
  const columns = [say("column.logit"), ...(ended ? [say("next.power")] : []),
    say("column.probability")];
  const values = names.map((_, i) => {
    const one = rows[i];
    return [one ? real(one.logit) : null, ...(ended ? [real(entry.powers[i])] : []),
      real(one ? one.share : entry.others.share)];
  });
  const writers = columns.map((_, j) => (
    column(values.map((line) => line[j]).filter((value) => value !== null), 2)
  ));
  const grid = new Grid("candidates", say("html.candidates"), names, columns, { show: (i, j) => {
    const title = say("html.candidate", { token: names[i], column: columns[j] });
    const told = ended && j === 0 && i < rows.length;
    const [final, vectors] = [entry.final, entry.vectors].map((one) => one && numbersOf(one));
    const shares = () => (ended ? why.shareOf(entry, i, j) : [paragraph(say("html.share"))]);
    why.tell(() => [title, told ? why.logit(entry, final, vectors, i) : shares()]);
  } });
  grid.fill((i) => values[i], { text: (value, i, j) => (value === null ? "" : writers[j](value)) });
  return grid.node;
}

/** What the layer's feed-forward network gives. */
function network() {
  const array = block().vectors.mlp_output;
  if (!array) return [];
  const values = numbersOf(array);
  const width = array.length ? 1 : array.shape.at(-1);
  const columns = array.length ? [say("column.length")]
    : Array.from({ length: width }, (_, i) => i);
  const own = block().rows;
  const names = own.map((at) => side().queries[at]);
  const row = (i) => values.subarray(own[i] * width, (own[i] + 1) * width);
  const marks = block().what_if.includes("mlp_output") ? ` · ${say("html.what_if")}` : "";
  const grid = new Grid("mlp_output", `mlp_output${marks} · ${say("html.tokens")}`, names, columns,
    { show: (i, j) => {
      const cell = { name: "mlp_output", token: names[i], column: columns[j],
        value: number(row(i)[j]) };
      why.tell(() => [say("html.entry", cell),
        [paragraph(say(array.length ? "html.lengths" : "html.of_mlp_output"))]]);
    } }, [own.indexOf(state.query), 0]);
  grid.fill(row, { marked: own.indexOf(state.query) });
  return [grid.node];
}

/** Which experts the tokens of the layer were sent to. */
function routing() {
  const { routing: told } = data();
  const own = told?.layers[`${block().stack}.${block().layer}`];
  if (!own) return [];
  const names = own.queries.map((query) => told.names[query]);
  const [chosen, shares] = [own.chosen, own.shares].map(numbersOf);
  const used = own.chosen.shape[1];
  const columns = Array.from({ length: used }, (_, i) => say("html.choice", { rank: i + 1 }));
  const row = (i) => Array.from(shares.subarray(i * used, (i + 1) * used));
  const write = column(Array.from(shares), 2);
  const pair = (i, j, value) => say("routing.pair",
    { expert: chosen[i * used + j], share: write(value) });
  const grid = new Grid("experts", own.title, names, columns, { show: (i, j) => {
    const words = { token: names[i], expert: chosen[i * used + j], share: write(row(i)[j]) };
    why.tell(() => [say("html.expert", words), [paragraph(say("html.expert_share", words))]]);
  } }, [own.queries.indexOf(state.query), 0]);
  grid.fill(row, { marked: own.queries.indexOf(state.query),
    text: (value, i, j) => pair(i, j, value) });
  return [el("h3", {}, told.title), ...told.said.map(paragraph), grid.node, paragraph(own.used)];
}

/** The section behind the six steps. */
export function ending() {
  const parts = [el("h2", {}, say("html.ending")), ...stream(), ...network(), ...routing()];
  for (const entry of data().next) {
    const mark = entry.what_if ? ` · ${say("html.what_if")}` : "";
    parts.push(el("h3", {}, entry.said.title + mark), ...entry.said.plain.map(paragraph));
    const elsewhere = entry.stack !== block().stack || entry.position !== state.query;
    if (elsewhere) parts.push(paragraph(say("html.elsewhere", { position: entry.position })));
    if (isChanged()) parts.push(el("p", { class: "aside" }, say("html.stays")));
    parts.push(candidates(entry));
  }
  if (!data().next.length) parts.push(paragraph(say("html.nothing_next")));
  return parts;
}

