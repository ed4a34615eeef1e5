// The page: what is chosen, what is changed, and the sections that follow.

import { el, marked, paragraph } from "./dom.mjs";
import { ending } from "./ending.mjs";
import { typed } from "./numbers.mjs";
import { block, change, flip, isChanged, reset, side, state } from "./state.mjs";
import { Steps } from "./steps.mjs";
import * as why from "./why.mjs";
import { data, say } from "./words.mjs";

const at = (id) => document.getElementById(id);
const steps = new Steps(at("steps"), { onFlip: (query, key) => {
  flip(query, key);
  changed();
} });
const SHORT = 8; // tokens that need no room to scroll
let waiting = 0;
let resting = ""; // what is said where nothing is changed

function options(select, names, own) {
  select.replaceChildren(...names.map((name, i) => (
    el("option", { value: i, selected: i === own }, name)
  )));
}

function chooseQuery() {
  const { rows } = block();
  const names = side().queries;
  if (!rows.includes(state.query)) {
    state.query = rows.includes(side().follow) ? side().follow : rows.at(-1);
  }
  options(at("query"), rows.map((row) => `${row}: ${names[row]}`), rows.indexOf(state.query));
}

function chosen() {
  options(at("head"), block().heads.map(String), state.place);
  chooseQuery();
  steps.build();
  at("ending").replaceChildren(...ending());
  why.invite();
  settings();
  result();
}

/** What the change has done, once the typing rests. */
function result() {
  clearTimeout(waiting);
  waiting = setTimeout(() => at("result").replaceChildren(
    ...marked(isChanged() ? steps.summary() : resting)), 250);
}

function settings() {
  const { temperature, scale } = change();
  if (document.activeElement !== at("temperature")) at("temperature").value = temperature;
  if (document.activeElement !== at("scale")) at("scale").value = Number(scale.toPrecision(6));
  for (const id of ["badge", "what"]) at(id).hidden = !isChanged();
  at("reset").disabled = !isChanged();
  document.body.classList.toggle("changed", isChanged());
  const parts = [];
  if (state.temperature !== null) {
    parts.push(say("html.set_temperature", { temperature: typed(temperature) }));
  }
  if (state.scale !== null) parts.push(say("html.set_scale", { scale: typed(scale) }));
  if (state.flips.size) parts.push(say("html.set_mask", { count: state.flips.size }));
  at("what").textContent = say("html.changed", { changes: parts.join(", ") });
}

function changed() {
  resting = say("html.restored");
  steps.fill();
  why.again();
  settings();
  at("ending").replaceChildren(...ending());
  result();
}

function read(id, own) {
  const value = at(id).value.trim() === "" ? NaN : Number(at(id).value);
  const good = Number.isFinite(value) && (id === "scale" || value >= 0);
  at(id).setAttribute("aria-invalid", String(!good));
  if (!good) return;
  state[id] = value === own ? null : value;
  changed();
}

function listen() {
  at("layer").addEventListener("change", (event) => {
    const before = block();
    state.block = Number(event.target.value);
    if (block().at !== before.at) reset();
    if (block().mask !== before.mask) state.flips.clear(); // they were changes of that mask
    state.place = Math.min(state.place, block().heads.length - 1);
    chosen();
  });
  at("head").addEventListener("change", (event) => {
    state.place = Number(event.target.value);
    chosen();
  });
  at("query").addEventListener("change", (event) => {
    state.query = block().rows[Number(event.target.value)];
    chosen();
  });
  at("temperature").addEventListener("input", () => read("temperature", data().temperature));
  at("scale").addEventListener("input", () => read("scale", Number(block().scale.toPrecision(6))));
  at("reset").addEventListener("click", () => {
    reset();
    for (const id of ["temperature", "scale"]) at(id).setAttribute("aria-invalid", "false");
    at("temperature").focus();
    document.activeElement.blur();
    changed();
    at("temperature").focus();
  });
}

function labelled() {
  for (const node of document.querySelectorAll("[data-say]")) {
    node.textContent = say(node.dataset.say);
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", say(node.dataset.label));
  }
  const { model, blocks } = data();
  at("title").textContent = say("html.title", { model: model.name });
  document.title = at("title").textContent;
  at("model").textContent = say("html.model", model);
  at("texts").replaceChildren(...data().texts.map((tokens) => (
    el("ol", tokens.length > SHORT
      ? { class: "tokens many", tabindex: "0", "aria-label": say("html.all_tokens") }
      : { class: "tokens" }, tokens.map((text) => el("li", {}, text)))
  )));
  at("opening").replaceChildren(...data().opening.map(paragraph));
  at("notes").replaceChildren(...[...data().what_if, ...data().notes].map(paragraph));
  if (data().vectors === "length") at("notes").append(paragraph(say("html.vectors")));
  if (data().vectors === "half") at("notes").append(paragraph(say("html.halves")));
  options(at("layer"), blocks.map((one) => one.name), state.block);
}

labelled();
state.query = side().follow;
listen();
chosen();
// For a console: the shown queries' numbers as the page has them, in all their digits.
globalThis.attn = { numbers: () => steps.numbers() };
