"""The six steps as sheets of formulas, one function each; what a model has not, or does otherwise,
stays a sheet of numbers (see `head.Head.add`).

Axes, as suffixes of array names: Q query, K key, P any token, M model, W width, R pair.
"""

import numpy as np

from attn_cli.maths.positions import Rotary, pairs, relative_rows, rotate
from attn_cli.views.workbook.head import NOTHING, Head
from attn_cli.views.workbook.sheets import shortest
from attn_cli.words import note

_COLD = 1e-300  # below, all weight is on the largest: a spreadsheet cannot divide by less


def embed(head: Head) -> None:
    """Step 1: what enters, and its norm."""
    for name in ("x", "key_x"):
        head.add(name)
    if "normed" not in head.view.arrays:
        return
    for name in ("w_norm", "b_norm"):
        head.add(name)
    if not head.has("x") or not _same_rows(head):
        head.add("normed")
        return
    facts, x_PM = head.view.facts, head.exact["x"]
    centred = facts.norm == "layer"
    mean_P = x_PM.mean(axis=1) if centred else np.zeros(len(x_PM))
    spread_P = np.square(x_PM - mean_P[:, None]).mean(axis=1)
    root_P = np.sqrt(spread_P + head.settings["epsilon"])
    made = (x_PM - mean_P[:, None]) / root_P[:, None]
    gain, shift = (head.exact.get(name, NOTHING) for name in ("w_norm", "b_norm"))
    made = made * gain if gain.size else made
    made = made + shift if shift.size else made
    width = x_PM.shape[1]

    def formula(row: int, column: int) -> str:
        x, own = head.sheets["x"], head.sheets["normed"]
        if column >= width:
            return _measure(x.in_row(row), width, column - width, centred=centred)
        text = x.cell(row, column)
        text = f"({text}-{own.cell(row, width)})" if centred else text
        text += f"/{own.cell(row, width + centred)}"
        text += f"*{head.sheets['w_norm'].cell(0, column)}" if gain.size else ""
        return text + (f"+{head.sheets['b_norm'].cell(0, column)}" if shift.size else "")

    more = [(note("xlsx.mean"), mean_P)] if centred else []
    head.add("normed", made, formula, [*more, (note("xlsx.root"), root_P)])


def _same_rows(head: Head) -> bool:
    return list(head.positions("x")) == list(head.positions("normed"))


def _measure(row: str, width: int, column: int, *, centred: bool) -> str:
    """The mean of a row of x, or the root that its norm divides by."""
    if not centred:
        return f"SQRT(SUMSQ({row})/{width}+epsilon)"
    return f"SQRT(VARP({row})+epsilon)" if column else f"AVERAGE({row})"


def project(head: Head) -> None:
    """Step 2: queries, keys and values, rotated where the model does so."""
    if "angles" in head.view.block.shown:
        _angles(head)
    for letter in "qkv":
        for name in (f"w_{letter}", f"b_{letter}"):
            head.add(name)
    for letter in "qkv":
        made = letter
        if f"{letter}_unrotated" in head.view.arrays:
            made = f"{letter}_unrotated"
        _projected(head, letter, made)
        if made != letter:
            _rotated(head, letter)
    for name in ("q_position", "k_position"):
        head.add(name)


def _projected(head: Head, letter: str, name: str) -> None:
    """`name` is x·W + b, of what the letter is made from."""
    of_keys = letter != "q" and head.view.crosses
    source = "key_x" if of_keys else "normed" if head.has("normed") else "x"
    weight, bias = f"w_{letter}", f"b_{letter}"
    rows = [head.row_at(source, at) for at in head.positions(name)] if head.has(source) else [-1]
    if not head.has(source, weight) or min(rows) < 0:
        head.add(name)
        return
    made = head.exact[source][rows] @ head.exact[weight]
    made = made + head.exact[bias] if head.has(bias) else made
    clip = head.settings["clip"]
    made = np.clip(made, -clip, clip) if clip else made

    def formula(row: int, column: int) -> str:
        x, w = head.sheets[source].in_row(rows[row]), head.sheets[weight].in_column(column)
        added = f"+{head.sheets[bias].cell(0, column)}" if head.has(bias) else ""
        text = f"MMULT({x},{w}){added}"
        return f"MAX(-clip,MIN(clip,{text}))" if clip else text

    head.add(name, made, formula)


def _angles(head: Head) -> None:
    """The angle of each token and pair; with what grown queries are multiplied by."""
    angle_PR = np.asarray(head.view.block.shown["angles"], np.float64)
    columns = [str(n) for n in range(angle_PR.shape[1])]
    factor = head.view.block.shown.get("query_factor", NOTHING)
    values, half = angle_PR, angle_PR.shape[1]
    if factor.size:
        values = np.column_stack([angle_PR, factor])
        columns.append(note("xlsx.query_factor"))
    head.exact["angles"] = angle_PR
    head.put("angles", values, columns, own=half, provenance=head.view.block.provenance("q"))


def _rotated(head: Head, letter: str) -> None:
    """q or k: each pair of dimensions rotated by its token's angle."""
    before, facts = f"{letter}_unrotated", head.view.facts
    rows = list(head.positions(letter))
    if not head.has("angles") or max(rows) >= len(head.exact["angles"]):
        head.add(letter)
        return
    angle_PR = head.exact["angles"][rows]
    factor, first = facts.attention_factor(head.view.block.layer), facts.rotated_from
    grown = head.view.block.shown.get("query_factor", NOTHING) if letter == "q" else NOTHING
    cos, sin = np.cos(angle_PR) * factor, np.sin(angle_PR) * factor
    was = head.exact[before]
    by = Rotary(cos, sin, interleaved=facts.interleaved)
    (turned,) = rotate([was[None, :, first:]], by)
    made = np.concatenate([was[:, :first], turned[0]], axis=1)
    made = made * grown[rows, None] if grown.size else made
    width = 2 * angle_PR.shape[1]
    ones, others = (list(range(width)[some]) for some in pairs(width, facts.interleaved))

    def formula(row: int, column: int) -> str:
        own, angles, at = head.sheets[before], head.sheets["angles"], column - first
        text = own.cell(row, column)
        if 0 <= at < width:
            is_one = at in ones
            pair = (ones if is_one else others).index(at)
            other = own.cell(row, first + (others if is_one else ones)[pair])
            angle, sign = angles.cell(rows[row], pair), "-" if is_one else "+"
            text = f"{text}*COS({angle}){sign}{other}*SIN({angle})"
            text = f"({text})*attention_factor" if factor != 1 else text
        if not grown.size:
            return text
        return f"({text})*{angles.cell(rows[row], angle_PR.shape[1])}"

    head.add(letter, made, formula)


def dot_products(head: Head) -> None:
    """Step 3: q·kᵀ, and where the model has them the terms of relative positions."""
    if not head.has("q", "k"):
        head.add("scores")
        return
    terms = [n for n in ("content_to_position", "position_to_content") if n in head.view.arrays]
    product = head.exact["q"] @ head.exact["k"].T

    def formula(row: int, column: int) -> str:
        return f"SUMPRODUCT({head.sheets['q'].in_row(row)},{head.sheets['k'].in_row(column)})"

    if "content_to_content" not in head.view.arrays:
        head.add("scores", product, formula)
        return
    head.add("content_to_content", product, formula)
    for name in terms:
        _of_positions(head, name)
    every = ["content_to_content", *terms]
    made = sum(head.exact[name] for name in every)
    head.add("scores", made, lambda r, c: "+".join(head.sheets[name].cell(r, c) for name in every))


def _of_positions(head: Head, name: str) -> None:
    """A query with the key of how far apart the two stand, or a key with that query.

    How distances share rows is data that a trace does not hold: it is one of two ways.
    """
    of_query = name == "content_to_position"
    table, own = ("k_position", "q") if of_query else ("q_position", "k")
    if not head.has(table):
        head.add(name)
        return
    span, far = len(head.exact[table]) // 2, head.view.facts.context
    at_Q, at_K = (np.array(head.positions(n)) for n in "qk")
    products = head.exact[own] @ head.exact[table].T
    for farthest, buckets in ((span, 0), (far, span)):
        if buckets and not 0 < buckets // 2 < farthest - 1:
            continue
        rows_QK = relative_rows(at_Q, at_K, farthest, buckets)
        if of_query:
            made = np.take_along_axis(products, rows_QK, axis=1)
        else:
            made = np.take_along_axis(products, rows_QK.T, axis=1).T

        def formula(row: int, column: int, rows_QK: np.ndarray = rows_QK) -> str:
            place = row if of_query else column
            of_table = head.sheets[table].in_row(int(rows_QK[row, column]))
            return f"SUMPRODUCT({head.sheets[own].in_row(place)},{of_table})"

        if head.add(name, made, formula):
            return


def scale_and_mask(head: Head) -> None:
    """Step 4: scaled, bent by a soft cap, a bias added; and the mask."""
    cap, scale = head.settings.get("soft_cap", 0), head.settings["scale"]
    head.add("bias")
    head.add("visible", switch=True)
    if head.has("scores"):
        made = head.exact["scores"] * scale
        made = np.tanh(made / cap) * cap if cap else made
        made = made + head.exact["bias"] if head.has("bias") else made

        def formula(row: int, column: int) -> str:
            text = f"{head.sheets['scores'].cell(row, column)}*scale"
            text = f"soft_cap*TANH({text}/soft_cap)" if cap else text
            return text + (f"+{head.sheets['bias'].cell(row, column)}" if head.has("bias") else "")

        head.add("scaled", made, formula)
    else:
        head.add("scaled")
    if head.has("scaled", "visible"):
        _masked(head)
    else:
        head.add("masked")


def _masked(head: Head) -> None:
    """The scores that are left, the sink's beside them, and the largest of each row."""
    value, visible = head.settings["mask_value"], head.exact["visible"] == 1
    made = np.where(visible, head.exact["scaled"], -np.inf if value is None else value)
    more = _sink_beside(head, made)
    every = np.column_stack([made, *(numbers for _, numbers in more)])
    largest = every.max(axis=1)
    more.append((note("xlsx.largest"), np.where(np.isneginf(largest), 0, largest)))
    keys, columns = made.shape[1], every.shape[1]

    def formula(row: int, column: int) -> str:
        if column < keys:
            seen, kept = (head.sheets[name].cell(row, column) for name in ("visible", "scaled"))
            return f"IF({seen}=1,{kept},mask_value)"
        own = head.sheets["masked"]
        return "sink" if column < columns else f"MAX({own.in_row(row, columns)})"

    head.add("masked", made, formula, more)


def _sink_beside(head: Head, of: np.ndarray) -> list:
    sink = head.settings.get("sink")
    return [] if sink is None else [(note("column.sink"), np.full(len(of), sink))]


def softmax(head: Head) -> None:
    """Step 5: e^((masked − largest) ÷ attention temperature) over its sum, row by row."""
    if not head.has("masked") or head.sheets["masked"].kind == "values":
        head.add("weights")
        return
    masked, keys = head.sheets["masked"], head.exact["masked"].shape[1]
    *every, largest = masked.values.T
    every, largest = np.array(every).T, largest[:, None]
    every[:, :keys] = head.exact["masked"]
    cold, heat = head.settings["attention_temperature"] < _COLD, "attention_temperature"
    with np.errstate(all="ignore"):
        heated = (every - largest) / (1 if cold else head.settings[heat])
        powers = np.where(every == largest, 1.0, 0.0) if cold else np.exp(heated)
        total = powers.sum(axis=1)
        made = powers / np.where(total == 0, 1, total)[:, None]
    sunk = [note("column.sink")] * (every.shape[1] - keys)
    columns = [*head.view.named_keys(head.view.block.keys), *sunk, note("xlsx.total")]
    last = len(columns) - 1

    def power(row: int, column: int) -> str:
        own, cell = head.sheets["powers"], masked.cell(row, column)
        if column == last:
            return f"SUM({own.in_row(row)})"
        top = masked.cell(row, last)
        share = f"IF({heat}<{_COLD:.0E},IF({cell}={top},1,0),EXP(({cell}-{top})/{heat}))"
        return f"IF(ISNUMBER({cell}),{share},0)"

    def weight(row: int, column: int) -> str:
        own, total = head.sheets["powers"], head.sheets["powers"].cell(row, last)
        return f"IF({total}=0,0,{own.cell(row, column)}/{total})"

    more = [(word, made[:, keys]) for word in sunk]
    if head.add("weights", made[:, :keys], weight, more):
        weights = head.sheets.pop("weights")
        values = np.column_stack([powers, total])
        head.put("powers", values, columns, own=last, formula=power, like="weights")
        head.sheets["weights"] = weights
        before = shortest(head.values("weights"))
        head.put(
            "weights_before",
            before,
            columns[:keys],
            own=keys,
            like="weights",
            provenance=head.view.block.provenance("weights"),
        )


def weighted_sum(head: Head) -> None:
    """Step 6: Σ weight · v, and through the head's slice of the output projection."""
    if head.has("weights", "v"):
        made = head.exact["weights"] @ head.exact["v"]

        def summed(row: int, column: int) -> str:
            weights, v = head.sheets["weights"].in_row(row), head.sheets["v"].in_column(column)
            return f"MMULT({weights},{v})"

        head.add("z", made, summed)
    else:
        head.add("z")
    head.add("w_o")
    if not head.has("z", "w_o"):
        return  # numbers that do not follow would be wrong once anything is changed
    kept = head.settings["head_kept"]

    def pulled(row: int, column: int) -> str:
        z, w = head.sheets["z"].in_row(row), head.sheets["w_o"].in_column(column)
        return f"head_kept*MMULT({z},{w})"

    head.add("head_output", kept * (head.exact["z"] @ head.exact["w_o"]), pulled)


STEPS = (embed, project, dot_products, scale_and_mask, softmax, weighted_sum)
