// Sentences come with the page, in its language, with {names} to fill in.

const DATA = JSON.parse(document.getElementById("data").textContent);

/** All that the page tells of. */
export function data() {
  return DATA;
}

/** The sentence of a key with its {names} filled in. */
export function say(key, values = {}) {
  return DATA.words[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
