"""A model whose rows of scores have a sink: what every command says of it, by independent sums."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from made_folders import made_folder

from attn_cli import room, session, vocabulary
from attn_cli.analysis.verify import verify
from attn_cli.hook_names import hook_name
from attn_cli.model.what_if import Changes
from attn_cli.views.check import fault

IDS = (5, 6, 7, 9, 5, 6, 8)
TYPED = ("--ids", ",".join(map(str, IDS)), "--layer", "1")
HEADS, GROUP, EPSILON = 6, 2, 2e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two layers of six heads, three of keys; the first layer has a window of 4."""
    return made_folder(tmp_path_factory.mktemp("models") / "sunk", "gpt_oss-a")


@pytest.fixture(scope="module")
def model(folder):
    return session.load(str(folder))


@pytest.fixture
def ask(attn, folder):
    """A command about the second layer of the model."""
    return lambda command, *more: attn(command, *TYPED, "-m", folder, *more)


@pytest.fixture(scope="module")
def block(model):
    return session.trace(ids=IDS, model=model, layer=1).attention[0]


def shares(masked, sink, temperature=1.0):
    """The weights and the sink's share of a row, in float64: e to the power of each, over all."""
    row = np.append(masked.astype(np.float64), float(sink)) / temperature
    powers = np.exp(row - row.max())
    return powers[:-1] / powers.sum(), powers[-1] / powers.sum()


# --- the arrays ----------------------------------------------------------------------------------


def test_a_row_and_its_sink_add_up_to_one(block):
    assert block.sink.shape == (HEADS,) and block.sink_share.shape == (HEADS, len(IDS))
    assert np.abs(block.weights.sum(axis=-1) + block.sink_share - 1).max() <= EPSILON
    assert (block.sink_share > 0.02).any() and (block.sink_share < 1).all()
    for head, row in np.ndindex(HEADS, len(IDS)):
        weights, share = shares(block.masked[head, row], block.sink[head])
        assert np.abs(block.weights[head, row] - weights).max() <= EPSILON
        assert abs(block.sink_share[head, row] - share) <= EPSILON


WHAT_IFS = {
    "temperature": ({"attention_temperature": 0.4}, {"weights", "sink_share"}),
    "none": ({"mask": ["none"]}, {"visible", "masked", "weights", "sink_share"}),
    "value": ({"mask_value": 0.0}, {"masked", "weights", "sink_share"}),
    "hidden": ({"mask": ["padding-left:7"]}, {"q", "masked", "weights", "sink_share"}),
    "scale": ({"without": ["scale"]}, {"scaled", "masked", "weights", "sink_share"}),
}


@pytest.mark.parametrize("name", WHAT_IFS)
def test_what_ifs_act_on_the_row_with_its_sink(name, model):
    """The temperature divides the sink's score too; masks and the scale leave it as it is."""
    settings, touched = WHAT_IFS[name]
    found = session.trace(ids=IDS, model=model, layer=0, **settings).attention[0]
    value, temperature = settings.get("mask_value"), settings.get("attention_temperature", 1.0)
    assert touched <= found.what_if and "sink" not in found.what_if
    masked = np.where(found.visible, found.scaled, -np.inf if value is None else value)
    for head, row in np.ndindex(HEADS, len(IDS)):
        weights, share = shares(masked[head, row], found.sink[head], temperature)
        assert np.abs(found.weights[head, row] - weights).max() <= EPSILON
        assert abs(found.sink_share[head, row] - share) <= EPSILON
        z = weights @ found.v[head // GROUP].astype(np.float64)
        assert np.abs(found.z[head, row] - z).max() <= 1e-5


def test_at_temperature_0_the_largest_takes_all_be_it_the_sink(model):
    found = session.trace(ids=IDS, model=model, layer=1, attention_temperature=0).attention[0]
    wins = found.sink[:, None] > found.masked.max(axis=-1)
    assert wins.any() and not wins.all()
    assert np.array_equal(found.sink_share, wins) and not found.weights[wins].any()


def test_a_query_that_sees_no_key_gives_all_to_the_sink(model, ask):
    """Whether the whole of a block of queries is blind, or one among others."""
    for mask, blind in ((["padding:7"], range(7)), ([f"block:3:{k}" for k in range(4)], [3])):
        found = session.trace(ids=IDS, model=model, layer=1, mask=mask)
        block = found.attention[0]
        assert block.blind == tuple(blind)
        for row in blind:
            assert (block.sink_share[:, row] == 1).all()
            assert not block.weights[:, row].any() and not block.z[:, row].any()
        said = [str(note) for note in found.notes if "no visible key" in str(note)]
        assert said and said[0].endswith("weights and z are 0, the sink has all")
    page = ask("mask", "--head", "2", *(w for k in range(4) for w in ("--mask", f"block:3:{k}")))
    assert "sees no key any more and its sink takes all" in " ".join(page.text.split())


def test_a_head_that_is_removed_keeps_its_sink(model, block):
    found = session.trace(ids=IDS, model=model, layer=1, without_head=["1.2"]).attention[0]
    assert np.array_equal(found.sink_share, block.sink_share)
    assert not found.head_output[2].any() and found.what_if == {
        "head_output", "output", "mlp_output",
    }  # fmt: skip


def test_it_is_verified_and_counted(model, block):
    prompt = session.tokenise(model, ids=IDS)
    errors = {one.name: one.error for one in verify(model, prompt, {}).float64}
    assert errors["sink"] == 0 and 0 < errors["sink_share"] <= 1e-6 >= errors["weights"]
    request = session.request_for(
        prompt, blocks=frozenset({block.address}), heads={"decoder": (0, 1)},
        arrays=frozenset({"sink", "sink_share", "weights"}), what_if=Changes(), whole=False,
    )  # fmt: skip
    none = replace(request, arrays=frozenset({"weights"}))
    read = {"decoder": len(IDS)}
    more = room.needed(model, request, read) - room.needed(model, none, read)
    assert more == 4 * (2 + 2 * 7)


# --- documents -----------------------------------------------------------------------------------


def test_json_has_the_sink_and_its_share_beside(ask, attn, block):
    document = ask("trace", "--head", "1,4", "--json").json
    assert not fault(attn("schema", "trace").json, document)
    arrays = document["attention"][0]["arrays"]
    assert list(arrays)[list(arrays).index("masked") :][:4] == [
        "masked", "sink", "weights", "sink_share",
    ]  # fmt: skip
    sink, share = arrays["sink"], arrays["sink_share"]
    assert (sink["step"], sink["axes"], sink["shape"]) == (4, ["head"], [2])
    assert (share["step"], share["axes"], share["shape"]) == (5, ["head", "query"], [2, 7])
    assert np.array_equal(np.float32(sink["values"]), block.sink[[1, 4]])
    assert np.array_equal(np.float32(share["values"]), block.sink_share[[1, 4]])
    weights = np.array(arrays["weights"]["values"])
    assert np.abs(weights.sum(axis=-1) + share["values"] - 1).max() <= EPSILON


def test_lines_and_tables_have_them_head_by_head(ask, attn, block):
    lines = [json.loads(line) for line in ask("trace", "--format", "ndjson").text.splitlines()]
    schema = attn("schema", "trace", "--line").json
    found = {"sink": [], "sink_share": []}
    for line in lines:
        assert not fault(schema, line)
        if line.get("name") in found:
            found[line["name"]].append((line["head"], line["axes"], np.float32(line["values"])))
    ((head, axes, sink),), ((_, of_rows, share),) = found.values()
    assert (head, axes, sink) == (0, [], block.sink[0]) and of_rows == ["query"]
    assert np.array_equal(share, block.sink_share[0])
    rows = list(csv.DictReader(io.StringIO(ask("trace", "--head", "2", "--format", "csv").text)))
    (sink,) = [row for row in rows if row["name"] == "sink"]
    assert (sink["head"], sink["row"], sink["column"]) == ("2", "0", "0")
    assert np.float32(sink["value"]) == block.sink[2]
    shown = [row for row in rows if row["name"] == "sink_share"]
    assert [row["row_token"] for row in shown] == [f"<{id}>" for id in IDS]
    assert [(row["row"], row["column"], row["column_token"]) for row in shown] == [
        (str(query), "0", "") for query in range(7)
    ]
    assert np.array_equal(np.float32([row["value"] for row in shown]), block.sink_share[2])


def test_an_archive_has_them_under_our_names(ask, model, block, tmp_path):
    ask("trace", "--head", "all", "--out", tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as archive:
        for name in ("sink", "sink_share"):
            place = hook_name(model.facts, block, name)
            assert place == f"blocks.1.attn.{name}"
            assert np.array_equal(archive[place], block.arrays[name])


def test_models_without_sinks_have_none(attn):
    arrays = attn("trace", "the king", "--json").json["attention"][0]["arrays"]
    assert not {"sink", "sink_share"} & arrays.keys()
    heads = attn("heads", "the king", "--json").json["result"]
    assert "sink_share" not in heads and "sink_share" not in heads["heads"][0]


@pytest.mark.parametrize("command", ["trace", "heads", "mask", "why"])
def test_a_saved_document_is_drawn_with_its_sink(command, ask, attn):
    mask = ["--mask", "window:2"] if command == "mask" else []
    saved, page = ask(command, *mask, "--json"), ask(command, *mask)
    assert not fault(attn("schema", command).json, saved.json)
    shown = attn("show", stdin=saved.out)
    lines = [line for line in page.text.splitlines() if "sink" in line]
    if command == "trace":  # what norms and positions say is known of the model alone
        assert "masked, then the sink" in shown.text and "weights, then the sink" in shown.text
    else:
        assert lines and [line for line in shown.text.splitlines() if "sink" in line] == lines


@pytest.mark.parametrize("rows", [(), ("--query", "2,5", "--key", "0-3")])
def test_a_part_of_a_document_is_drawn_with_its_sink(rows, ask, attn, block):
    saved = ask("trace", "--head", "2", *rows, "--json").out
    for step in ("4", "5"):
        text = attn("show", "--step", step, "--digits", "4", stdin=saved).text
        name, of_sink = (
            ("masked", block.sink[2]) if step == "4" else ("weights", block.sink_share[2])
        )
        _, shown = table(text, f" {name}, then the sink")
        wanted = np.broadcast_to(of_sink, 7)[[2, 5] if rows else slice(None)]
        assert [float(row[-1]) for row in shown] == pytest.approx(wanted, abs=6e-4)
        assert "sink_share" not in text
    alone = json.loads(saved)
    del alone["attention"][0]["arrays"]["masked"]
    text = attn("show", "--step", "4", stdin=json.dumps(alone).encode()).text
    assert (" sink   1 × 1" in text) == bool(rows)


# --- pages ---------------------------------------------------------------------------------------


def table(text, title):
    """The numbers under a title, row by row, and the headings of the columns."""
    lines = text[text.index(title) :].splitlines()[1:]
    rows = []
    for line in lines[1:]:
        if not line.strip() or "`" in line:
            break
        rows.append(line.replace("▸", " ").replace("−", "-").split())
    return lines[0].split(), rows


def test_the_page_shows_the_sink_as_one_more_column(ask, block):
    text = ask("trace", "--head", "3", "--digits", "5").text
    for name, of_sink in (("masked", block.sink[3]), ("weights", block.sink_share[3])):
        headings, rows = table(text, f" {name}, then the sink   7 × 8")
        assert headings[-1] == "(sink)"
        cells = [float(row[-1]) for row in rows[:7]]
        assert np.abs(cells - np.broadcast_to(of_sink, 7)).max() <= 1e-5
    words = " ".join(text.split())
    assert "Each query's weights and the sink's share (last) add up to 1." in words
    total, power = re.search(r"add up to (\S+), of which (\S+) is the sink's\.", words).groups()
    row = np.append(block.masked[3, -1], block.sink[3]).astype(np.float64)
    powers = np.exp(row - row.max())
    assert (float(total), float(power)) == pytest.approx((powers.sum(), powers[-1]), abs=6e-6)
    share, rest = re.search(r"row, (\S+), adds nothing, and the weights above add up to (\S+)\.",
                            words).groups()  # fmt: skip
    assert (float(share), float(rest)) == pytest.approx(
        (block.sink_share[3, -1], block.weights[3, -1].sum()), abs=6e-6
    )


@pytest.mark.parametrize("step", ["5", "6"])
def test_a_step_alone_says_the_same(step, ask):
    whole, part = (
        " ".join(ask("trace", "--no-next", *more).text.split()) for more in ((), ("--step", step))
    )
    for pattern in (r"the powers of e add up to .*?is the sink's\.", r"The sink has no value.*?\."):
        found = re.search(pattern, part)
        assert (found is not None) == (step == ("5" if "powers" in pattern else "6"))
        assert not found or found[0] in whole


@pytest.mark.parametrize("view", ["heatmap", "dots", "lines"])
def test_every_view_has_the_column(view, ask):
    text = ask("trace", "--view", view, "--step", "5", "--no-next").text
    assert "weights, then the sink" in text and "(sink)" in text
    grids = ask("heads", "--view", view).text
    assert "After the keys comes the sink" in grids
    if view == "lines":
        assert grids.count("→ (sink)") > HEADS


def test_queries_as_columns_have_it_as_the_last_row(ask):
    text = ask("trace", "--layout", "columns", "--step", "5", "--no-next").text
    _, rows = table(text, " weights, then the sink   8 × 7")
    assert rows[-1][0] == "(sink)" and len(rows) == 8


# --- heads, why, mask, compare -------------------------------------------------------------------


def entropy(shares_):
    kept = shares_[shares_ > 0].astype(np.float64)
    return -(kept * np.log2(kept)).sum()


def test_heads_count_the_sink_as_one_more_choice(ask, block):
    found = ask("heads", "--json").json["result"]
    assert np.array_equal(np.float32(found["sink_share"]), block.sink_share)
    for head in found["heads"]:
        n, rows = head["head"], range(1, 7)
        both = np.concatenate([block.weights[n], block.sink_share[n][:, None]], axis=1)
        assert head["entropy"] == pytest.approx(np.mean([entropy(both[r]) for r in rows]), abs=1e-5)
        assert head["sink_share"] == pytest.approx(block.sink_share[n, 1:].mean(), abs=1e-6)
        assert head["first_share"] == pytest.approx(block.weights[n, 1:, 0].mean(), abs=1e-6)
    ranking = ask("heads", "--sort", "sink", "--json").json["result"]["ranking"]
    means = block.sink_share[:, 1:].mean(axis=-1)
    assert [row["head"] for row in ranking] == np.argsort(-means, kind="stable").tolist()
    assert "on sink" in ask("heads").text and "on sink" in ask("heads", "--sort", "sink").text


def test_without_the_first_token_the_sink_is_left_out_too(ask, block):
    found = ask("heads", "--without-first", "--json").json["result"]
    assert "sink_share" not in found
    for head in found["heads"]:
        others = block.weights[head["head"], 1:, 1:].astype(np.float64)
        others /= others.sum(axis=-1, keepdims=True)
        wanted = np.mean([entropy(row) for row in others])
        assert head["entropy"] == pytest.approx(wanted, abs=1e-5)
    said = " ".join(ask("heads", "--without-first").text.split())
    assert "what is said of the other keys leaves it out too" in said


def test_heads_without_a_sink_cannot_be_ranked_by_it(attn):
    refused = attn("heads", "the king", "--sort", "sink")
    assert refused.code == 2 and "these heads have no sink" in refused.said


def test_why_has_the_sink_in_its_total(ask, block):
    cell = ask("why", "--head", "3", "--query", "6", "--key", "0", "--json").json["result"]
    (sink,) = cell["sink_row"]
    assert sink["key"] == -1 and np.float32(sink["masked"]) == block.sink[3]
    powers = [row["power"] for row in (*cell["row"], sink)]
    assert cell["total"] == pytest.approx(sum(powers), rel=1e-6)
    own = next(row["power"] for row in cell["row"] if row["key"] == 0)
    assert cell["weight"] == pytest.approx(own / cell["total"], abs=1e-6)
    text = ask("why", "--head", "3", "--query", "6", "--key", "0").text
    line = next(line for line in text.splitlines() if line.strip().startswith("(sink)"))
    _, shifted, power = map(float, line.replace("−", "-").split()[1:])
    assert power == pytest.approx(np.exp(shifted), abs=0.006)
    above, total, weight = re.search(r"weight = (\S+) ÷ (\S+) = (\S+)", text).groups()
    assert float(above) / float(total) == pytest.approx(float(weight), abs=0.006)
    alone = " ".join(ask("why", "--head", "3", "--query", "0").text.split())
    assert "and the sink the rest: it sees no other key" in alone


def test_what_a_mask_moves_to_the_sink_counts(ask):
    found = ask("mask", "--head", "3", "--mask", "block:6:5", "--json").json["result"]
    before, after = (np.array(found[f"weights_{when}"]) for when in ("before", "after"))
    of_sink = np.array(found["sink_share_after"]) - found["sink_share_before"]
    moved = (np.abs(after - before).sum(axis=-1) + np.abs(of_sink)) / 2
    assert abs(of_sink[6]) > 0.001 and found["moved"] == pytest.approx(moved, abs=1e-6)
    valued = ask("mask", "--head", "3", "--mask-value", "0", "--json").json["result"]
    rows = np.array(valued["weights_after"]).sum(axis=-1) + valued["sink_share_after"]
    assert np.abs(rows - 1).max() <= EPSILON
    assert "(sink)" in ask("mask", "--head", "3", "--mask-value", "0").text


def test_compare_tells_of_the_share_and_not_of_the_sink(ask):
    result = ask("compare", "--attention-temperature", "2", "--json").json["result"]
    verdicts = {one["array"]: one["verdict"] for one in result["layers"]}
    assert verdicts["sink"] == "equal" and verdicts["sink_share"] == "different"
    assert {"sink", "sink_share"} <= {n for n in vocabulary.DEFAULT_ARRAYS if n in verdicts}
