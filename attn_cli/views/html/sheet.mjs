// The blanks of an exercise: what is typed into them, saved as the sheet with its answers.
import { data, say } from "./words.mjs";

const FILE = "answers.json";
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** The number that was typed: null where nothing was, NaN where it is none. */
export function read(text) {
  const typed = text.trim().replace("−", "-").replace(",", ".");
  if (!typed) return null;
  const value = NUMBER.test(typed) ? Number(typed) : NaN;
  return Number.isFinite(value) ? value : NaN;
}

/** The sheet with the answers of its blanks, by their numbers. */
export function filled(sheet, answers) {
  const blanks = sheet.result.blanks.map((one) => ({ ...one, answer: answers[one.number] }));
  return { ...sheet, result: { ...sheet.result, blanks } };
}

function hand(text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = FILE;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function begin() {
  const form = document.getElementById("sheet");
  const status = document.getElementById("status");
  const fields = [...form.querySelectorAll("input")];

  function mark(field) {
    const wrong = Number.isNaN(read(field.value));
    field.setAttribute("aria-invalid", String(wrong));
    return wrong;
  }

  function save() {
    const wrong = fields.filter(mark);
    if (wrong.length) {
      status.textContent = say("exercise.no_number", { number: wrong[0].dataset.number });
      wrong[0].focus();
      return;
    }
    const answers = Object.fromEntries(fields.map((f) => [f.dataset.number, read(f.value)]));
    hand(JSON.stringify(filled(data().sheet, answers)));
    const given = Object.values(answers).filter((value) => value !== null).length;
    status.textContent = say("exercise.saved", { filled: given, count: fields.length, file: FILE });
  }

  /** Of the tables only those are a stop for Tab that have to be scrolled. */
  function stops() {
    for (const part of document.querySelectorAll(".scroll")) {
      part.tabIndex = part.scrollWidth > part.clientWidth ? 0 : -1;
    }
  }

  form.addEventListener("keydown", (event) => { // Enter in a field leads to the next
    const place = fields.indexOf(event.target);
    if (event.key !== "Enter" || place < 0) return;
    event.preventDefault();
    (fields[place + 1] || document.getElementById("save")).focus();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  globalThis.addEventListener("resize", stops);
  stops();
  form.addEventListener("change", ({ target }) => mark(target));
  document.getElementById("save").addEventListener("click", save);
}

begin();
