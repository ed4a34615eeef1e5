// Steps 3 to 6 for one query of one head, in the order of attn_cli/maths/attention.py. Everything
// that is made of rounded numbers is rounded to float32 as there, so that what overflows there
// overflows here.

function dot(left, a, right, b, width) {
  let sum = 0;
  for (let i = 0; i < width; i += 1) sum += left[a + i] * right[b + i];
  return sum;
}

/** Shares of 1 by e^((m − largest) / T); at temperature 0 the largest take all. */
export function softmax(masked, temperature) {
  let top = -Infinity;
  for (const value of masked) top = Number.isNaN(value) || value > top ? value : top;
  if (masked.some(Number.isNaN)) top = NaN;
  if (top === -Infinity) top = 0;
  const powers = Float64Array.from(masked, (value) => {
    const shifted = value - top;
    if (temperature === 0) return Number.isNaN(shifted) ? NaN : Number(shifted === 0);
    return Math.exp(shifted / temperature);
  });
  const total = powers.reduce((sum, value) => sum + value, 0);
  return { top, powers, total, weights: powers.map((value) => value / (total || 1)) };
}

/** A scaled score: bent by a soft cap, and with the bias added, where the model has them. */
export function scaled(score, scale, cap, bias) {
  let value = Math.fround(score * scale);
  if (cap) value = Math.fround(cap * Math.tanh(value / cap));
  return Math.fround(value + bias);
}

/** What a query's z becomes through the head's slice of W_O, or its length where only a triangle
 * with the same lengths is there. */
export function pull(head, z) {
  if (head.removed) return { vector: head.whole ? new Float64Array(head.model) : null, length: 0 };
  const found = new Float64Array(head.whole ? head.model : head.value);
  for (let i = 0; i < head.value; i += 1) {
    const start = head.whole ? i * head.model : (i * (i + 1)) / 2;
    const stop = head.whole ? head.model : i + 1;
    for (let j = 0; j < stop; j += 1) found[j] += z[i] * head.out[start + j];
  }
  const length = Math.sqrt(found.reduce((sum, value) => sum + value * value, 0));
  return { vector: head.whole ? found : null, length };
}

/** Steps 3 to 6 of query `row` (its place among the rows): every number of every key. */
export function attend(head, row, change) {
  const { keys, width, value } = head;
  const query = head.rows[row];
  const found = {
    content: new Float64Array(keys), scores: new Float64Array(keys),
    scaled: new Float64Array(keys), visible: new Uint8Array(keys), masked: new Float64Array(keys),
  };
  for (let key = 0; key < keys; key += 1) {
    const at = row * keys + key;
    found.content[key] = Math.fround(dot(head.q, query * width, head.k, key * width, width));
    const terms = head.terms.reduce((sum, term) => sum + term.values[at], 0);
    found.scores[key] = Math.fround(found.content[key] + terms);
    const bias = head.bias ? head.bias[at] : 0;
    found.scaled[key] = scaled(found.scores[key], change.scale, head.cap, bias);
    const flipped = change.flips.has(`${query},${key}`);
    found.visible[key] = flipped ? 1 - head.mask[at] : head.mask[at];
    found.masked[key] = found.visible[key] ? found.scaled[key] : head.hidden;
  }
  const all = head.sink === null ? found.masked : Float64Array.from([...found.masked, head.sink]);
  const { top, powers, total, weights } = softmax(all, change.temperature);
  found.top = top;
  found.powers = powers;
  found.total = total;
  found.weights = weights.subarray(0, keys);
  found.share = head.sink === null ? null : weights[keys];
  found.z = new Float64Array(value);
  for (let key = 0; key < keys; key += 1) {
    if (!found.visible[key] && head.hidden === -Infinity) continue; // 0 × NaN is NaN
    for (let i = 0; i < value; i += 1) {
      found.z[i] += found.weights[key] * head.v[key * value + i];
    }
  }
  found.pull = pull(head, found.z);
  return found;
}
