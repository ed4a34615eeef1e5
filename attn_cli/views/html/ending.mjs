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
    why.tell(title, told ? why.logit(entry, numbersOf(entry.final), numbersOf(entry.vectors), i)
      : [paragraph(say("html.share"))]);
  } });
  grid.fill(values.map((line) => line.map((value) => value ?? NaN)));
  values.forEach((line, i) => line.forEach((value, j) => {
    grid.cells[i][j].textContent = value === null ? "" : writers[j](value);
  }));
  return grid.node;
}

/** The section behind the six steps. */
export function ending() {
  const parts = [el("h2", {}, say("html.ending")), ...stream()];
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

/** The length of the followed query's pull, where a number says it all. */
export function lengths(found) {
  return number(found.pull.length, 2);
}
