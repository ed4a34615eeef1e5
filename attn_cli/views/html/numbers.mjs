// Arrays out of base64, and every digit the page shows, written as in the terminal.

function bytesOf(text) {
  const raw = atob(text);
  const found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) found[i] = raw.charCodeAt(i);
  return found;
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const scale = (bits >> 10) & 31;
  const rest = bits & 1023;
  if (scale === 31) return rest ? NaN : sign * Infinity;
  return sign * (scale ? 2 ** (scale - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
}

/** The numbers of an embedded array; bits become 0 and 1. */
export function decode(array) {
  const bytes = bytesOf(array.data);
  const count = array.shape.reduce((a, b) => a * b, 1);
  if (array.type === "bits") {
    return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
  }
  const view = new DataView(bytes.buffer);
  const found = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    found[i] = array.type === "half"
      ? half(view.getUint16(2 * i, true)) * array.factor
      : view.getFloat32(4 * i, true);
  }
  return found;
}

/** A number that JSON could not hold is null there. */
export function real(value) {
  return value === null ? NaN : value;
}

function fixed(value, decimals) {
  const moved = Math.abs(value) * 10 ** decimals;
  const tie = Number.isInteger(value * 2 ** (decimals + 1)) && moved % 1 === 0.5;
  if (!tie) return value.toFixed(decimals);
  const even = 2 * Math.round(moved / 2); // of two as near, the even one
  return ((Math.sign(value) * even) / 10 ** decimals).toFixed(decimals);
}

function power(value, digits) {
  return value.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
}

/** How numbers that stand together are written: with the same decimals, enough to tell them
 * apart. */
export function column(values, digits) {
  let largest = 0;
  for (const value of values) {
    if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  }
  const long = largest >= 1e5 || (largest > 0 && largest < 1e-6);
  const zeros = largest >= 1e-6 ? Math.max(0, -Math.floor(Math.log10(largest)) - 1) : 0;
  return (value) => {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const text = long ? power(value, digits) : fixed(value, digits + zeros);
    if (text[0] !== "-") return text;
    return /^-[0.]+$/.test(text) ? text.slice(1) : `−${text.slice(1)}`;
  };
}

/** One number on its own. */
export function number(value, digits = 4) {
  return column([value], digits)(value);
}

/** A setting, as it was typed. */
export function typed(value) {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}
