// Elements, made of text and never of markup.

/** An element with attributes and children; a child that is no element is text. */
export function el(name, attributes = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false) found.setAttribute(key, value === true ? "" : value);
  }
  found.append(...children.flat().map((child) => (child instanceof Node ? child : String(child))));
  return found;
}

export function paragraph(text) {
  return el("p", {}, ...marked(text));
}

/** Text whose `names` between backticks are set apart. */
export function marked(text) {
  return text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

/** The same where nothing can be set apart. */
export function spoken(text) {
  return text.replaceAll("`", "");
}

/** A plain table: headers, and rows whose first cell names them. */
export function table(caption, headers, rows) {
  const cells = (row) => row.map((cell, i) => (
    i ? el("td", {}, cell) : el("th", { scope: "row" }, cell)
  ));
  const region = { role: "region", "aria-label": spoken(caption) };
  return el("div", { class: "scroll", tabindex: "0", ...region },
    el("table", {},
      el("caption", {}, ...marked(caption)),
      el("thead", {}, el("tr", {}, headers.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, cells(row))))));
}
