"""`attn show`: a saved document is the same page again, or a clear refusal."""

import copy
import io
import json
import re

import numpy as np
import pytest
import workbooks
from made_folders import made_folder

from attn_cli.cli.commands import COMMANDS
from attn_cli.views.show import PAGES

PROMPT = "the greatest thinker in China is"
CROSS = ("-m", "tiny-translator", "--kind", "cross")
CONTEXTS = ("embed", "--in", "the king", "--in", "a king is", "--token", "king")
TWO = ("compare", "the king is a man", "the queen is a woman")
ENTRY = ("why", PROMPT, "--array", "k", "--column", "0")
CHAIN = ("why", PROMPT, "--layer", "1", "--by", "component", "--step-back")
LOGIT = ("why", PROMPT, "--array", "logit", "--by", "component")
# What a document holds all of: the same page to the byte.
WHOLE = [
    ("sample", PROMPT, "-t", "1.5", "--top-k", "5", "--seed", "1", "-n", "3"),
    ("sample", PROMPT, "--sweep", "0,1,2", "--seed", "3"),
    ("sample", PROMPT, "--draws", "40", "--seed", "1", "--mask", "none"),
    ("loss", PROMPT),
    ("loss", PROMPT, "-m", "tiny-translator", "--target", "\u4e2d\u56fd"),
    ("verify", PROMPT),
    ("verify", PROMPT, "-m", "tiny-translator"),
    ("heads", "the king [MASK] a man", "-m", "tiny-encoder", "--head", "0,2"),
    ("heads", PROMPT, *CROSS),
    ("heads", PROMPT),
    ("heads", PROMPT, "--mask-value", "0"),
    ("heads", PROMPT, "--layer", "all", "--sort", "first", "--mask-value", "0"),
    ("heads", "--prove"),
    ("mask", PROMPT, *CROSS, "--mask", "padding:2"),
    ("models",),
    ("models", "tiny"),
    ("embed", "father - man + woman"),
    ("embed", "China", "-m", "random:layers=1"),
    ("embed", "--in", "the fashion model", "--in", "we train the model", "--token", "model"),
    ("embed", "--in", "the king", "--in", "a king", "--token", "king", "-m", "tiny-encoder"),
    ("cost", "--preset", "gpt3"),
    ("cost", "-m", "tiny-encoder", "--context", "8,64"),
    ("cost", "-m", "tiny-translator"),
    ("compare", PROMPT, "--mask", "none"),
    ("compare", "the king is a man", "the queen is a woman", "--layer", "1"),
    ("compare", "the king is", "the king is a man"),
    ("compare", "the king is", "-m", "tiny", "-m", "tiny-encoder"),
    ("compare", "the king", *CROSS, "--stack", "all", "--kind", "all", "--mask", "padding:1"),
    ("why", PROMPT),
    ("why", PROMPT, "--query", "1", "--key", "4"),
    ("why", "the king [MASK] a man", "-m", "tiny-encoder"),
    ("why", PROMPT, *CROSS, "--without-head", "0.0"),
    ("why", PROMPT, "--array", "q", "--query", "is", "--column", "3"),
    ("why", PROMPT, "--array", "output", "--column", "3", "--layer", "1"),
    ("why", PROMPT, "--layer", "1", "--by", "component", "--step-back"),
    ("why", PROMPT, "--by", "component", "--logit", "Mencius"),
    ("exercise", PROMPT, "--seed", "1", "--layer", "1"),
    ("exercise", "the king", *CROSS, "--seed", "1", "--key"),
    ("tokens", PROMPT),
    ("tokens", PROMPT, "--model", "tiny", "--model", "tiny-encoder"),
]
# What these pages tell of the model is in its document; without that it is left out.
OF_MODEL = [
    ("heads", PROMPT, "--circuit", "1.2"),
    ("lens", PROMPT, "--watch", "Confucius", "--per-head"),
    ("lens", PROMPT, "--query", "is,China"),
    ("mask", PROMPT),
    ("mask", PROMPT, "--mask-value", "0"),
    ("mask", "the king [MASK] a man", "-m", "tiny-encoder", "--mask", "padding:2"),
]
WHOLE += OF_MODEL
# The page of a step needs arrays of others too, which a whole document has.
STEPS = [
    (PROMPT,), (PROMPT, "--mask", "window:2", "--layer", "1", "--head", "all"),
    ("the king [MASK] a man", "-m", "tiny-encoder"), (PROMPT, *CROSS),
    ("--ids", "5,6,7", "-m", "random:layers=1,heads=2"), (PROMPT, "--mask-value", "0"),
    (PROMPT, "--attention-temperature", "0.5", "--without-head", "0.0"),
]  # fmt: skip
# Something is left out, which the page says.
PARTS = [
    ("trace", PROMPT),
    ("trace", "the king is", "--layer", "1", "--head", "0,1"),
    ("trace", "the king", "--parameters", "--after"),
    ("trace", "the king [MASK] a man", "-m", "tiny-encoder"),
    ("trace", "the king", "-m", "tiny-translator", "--stack", "all", "--kind", "all"),
    *OF_MODEL,
]


def again(attn, *arguments, **more):
    saved = attn(*arguments, "--json")
    assert saved.code == 0, saved
    document = saved.out
    if not more.pop("facts", True):
        found = saved.json
        del found["model"]["facts"]
        document = json.dumps(found).encode()
    return attn("show", *more.pop("show", ()), stdin=document, **more)


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("arguments", WHOLE, ids=" ".join)
def test_a_whole_document_is_the_same_page_to_the_byte(attn, arguments):
    saved = attn(*arguments, "--json").out
    view = ("--view", "lines") if COMMANDS[arguments[0]].views else ()
    full = ("--full",) if arguments[0] == "why" else ()
    for more in {(), view, full}:
        page, shown = attn(*arguments, *more), attn("show", *more, stdin=saved)
        assert shown == page
        assert shown.text.count("\n") > 5


@pytest.mark.parametrize("arguments", STEPS, ids=" ".join)
def test_a_step_of_a_whole_trace_is_the_same_page_to_the_byte(attn, arguments):
    saved = attn("trace", *arguments, "--json").out
    for step, more in ((3, ()), (4, ("--layout", "columns")), (5, ("--view", "heatmap"))):
        page = attn("trace", *arguments, "--step", step, *more)
        assert attn("show", "--step", step, *more, stdin=saved).out == page.out


@pytest.mark.parametrize("arguments", PARTS, ids=" ".join)
def test_nothing_is_made_up_and_what_is_missing_is_said(attn, arguments):
    look = ("--full",) if arguments[0] == "lens" else ("--full", "--view", "lines")
    page = attn(*arguments, *look).text
    shown = again(attn, *arguments, show=look, facts=arguments not in OF_MODEL).text
    lacks = re.search(r"(?ms)^ From a document\. .*?: (.*?\.)$", shown)
    assert lacks, shown
    rest = shown.replace(lacks[0], "")
    if arguments[0] == "trace":
        prose = [s for s in flat(rest).split(". ") if not re.search(r"[→×]|\d, token", s)]
        assert len(prose) > 5
        assert [said for said in prose if said not in flat(page)] == []
    else:
        lines = [line for line in rest.splitlines() if not line.startswith("    head ")]
        assert len(lines) > 9
        assert set(lines) <= set(page.splitlines())


# Types whose pages tell of norms after the parts, sinks, experts, multipliers, other layers.
TYPES = ("olmo2-a", "gpt_oss-a", "granite-a", "lfm2-b", "phimoe-a", "falcon-d")
OF_TYPES = [
    ("why",), ("why", "--layer", "1"), ("why", "--layer", "1", "--array", "k", "--column", "1"),
    ("why", "--array", "logit", "--by", "component"), ("heads", "--layer", "1"),
    ("heads", "--circuit", "1.2"), ("lens", "--per-head"), ("compare", "--mask", "none"),
    ("loss",), ("mask", "--layer", "1"), ("embed",), ("models",),
]  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_what_pages_tell_of_a_type_is_in_its_documents(attn, tmp_path, name):
    folder = str(made_folder(tmp_path / "m", name))
    for command, *more in OF_TYPES:
        ids = "3" if command == "embed" else "1,3,4,3"
        model = (folder,) if command == "models" else ("--ids", ids, "--model", folder)
        page = attn(command, *model, *more)
        assert page.code == 0, (command, page)
        assert attn("show", stdin=attn(command, *model, *more, "--json").out) == page, command
    asked = ("trace", "--layer", "1", "--ids", "1,3,4,3", "--model", folder)
    saved = attn(*asked, "--json").out
    for step in (3, 4, 5):
        page = attn(*asked, "--step", step)
        assert attn("show", "--step", step, stdin=saved).out == page.out


def test_facts_that_contradict_their_model_are_refused(attn, tmp_path):
    folder = str(made_folder(tmp_path / "m", "lfm2-b"))
    found = attn("loss", "--ids", "3,1,4", "--model", folder, "--json").json
    assert found["model"]["facts"]["mixers"] == ["convolution", "", "convolution"]
    for facts, said in (
        ({"mixers": ["convolution", "", ""]}, "mixers are not of its other layers"),
        ({"norm": "batch"}, "model.facts.norm is 'batch', not 'layer' or 'rms'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ):
        found["model"]["facts"] = facts
        refused = attn("show", stdin=json.dumps(found).encode())
        assert refused.code == 1 and said in refused.said


def test_every_document_has_a_page():
    written = {name for name, command in COMMANDS.items() if command.records}
    assert written == {"trace", *PAGES}


def test_numbers_can_have_more_decimals(attn):
    for arguments in (ENTRY, (*ENTRY[:2], "--array", "q", "--column", "3")):
        page = attn(*arguments, "--digits", "4")
        assert again(attn, *arguments, show=("--digits", "4")).out == page.out
        assert page.out != attn(*arguments).out


def test_what_is_said_of_the_model_is_what_its_document_says(attn):
    """A page does not take a bare description of the model for a model without these parts."""
    capped = attn("why", PROMPT, "--by", "component", "--logit", "Mencius", "--json").json
    capped["result"]["soft_cap"] = 30.0
    assert "30 · tanh(sum ÷ 30)" in flat(attn("show", stdin=json.dumps(capped).encode()).text)
    cell = attn("why", PROMPT, "--layer", "1", "--json").json
    assert "through the last norm" in flat(attn("show", stdin=json.dumps(cell).encode()).text)
    cell["result"]["direct"] |= {"norm": "", "soft_cap": 30.0}
    told = flat(attn("show", stdin=json.dumps(cell).encode()).text)
    assert "through the last norm" not in told and "after a soft cap" in told
    cost = attn("cost", "--json").json
    assert "so it is counted once" in flat(attn("show", stdin=json.dumps(cost).encode()).text)
    cost["result"] |= {"tied": False, "disentangled": True}
    told = flat(attn("show", stdin=json.dumps(cost).encode()).text)
    assert "so it is counted once" not in told and "disentangled attention" in told


def test_a_training_is_told_again(attn, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sees\na dog runs\n")
    asked = ("train", corpus, "--width", 8, "--heads", 2, "--context", 16, "--steps", 3, "--quiet")
    done = attn(*asked, "--out", tmp_path / "m", "--json")
    shown = attn("show", stdin=done.out)
    assert shown.code == 0
    assert f"{done.json['result']['loss']:.3f} nats per token" in flat(shown.text)
    assert "3 steps in" in flat(shown.text) and "that were watched" in flat(shown.text)


def test_the_document_and_its_arrays_come_out_as_they_went_in(attn, tmp_path):
    saved = attn("trace", PROMPT, "--json").out
    assert attn("show", "--json", stdin=saved).out == saved
    for form in ("ndjson", "csv"):
        assert (
            attn("show", "--format", form, stdin=saved).out
            == attn("trace", PROMPT, "--format", form).out
        )
    for name, asked in (("a.npz", ("trace", PROMPT)), ("b.npz", ("show",))):
        attn(*asked, "--out", tmp_path / name, stdin=saved if asked == ("show",) else None)
    trace, shown = (np.load(io.BytesIO((tmp_path / n).read_bytes())) for n in ("a.npz", "b.npz"))
    names = {"q": "hook_q", "k": "hook_k"}
    for name in shown.files:
        own = name.replace(".attn.output", ".hook_attn_out")
        own = own.removesuffix(own[-1]) + names[own[-1]] if own[-2:] in (".q", ".k") else own
        assert name == "attn.document" or np.array_equal(trace[own], shown[name]), name
    assert {"tokens", "blocks.0.attn.hook_pattern", "blocks.0.attn.q"} <= {*shown.files}
    assert json.loads(str(shown["attn.document"]))["prompt"]["text"] == PROMPT
    loss = attn("loss", PROMPT, "--json").out
    assert attn("show", "--format", "ndjson", stdin=loss).out == loss
    refused = attn("show", "--format", "csv", stdin=loss)
    assert refused.code == 2 and "attn.loss/1 cannot be written as csv" in refused.said


def test_lines_of_documents_are_shown_one_by_one(attn, tmp_path):
    texts = b"the king\nthe man is\n"
    saved = attn("loss", "--each", "line", "--format", "ndjson", stdin=texts).out
    path = tmp_path / "losses.ndjson"
    path.write_bytes(saved)
    assert attn("show", path).out == attn("loss", "--each", "line", stdin=texts).out
    assert attn("show", path, "--json").out == saved
    one, other = saved.splitlines()
    for damaged in (b"{x}", b'{"schema": 3}', b"[]", one[:-9] + b"}"):
        for lines in ((one, damaged, other), (damaged, one, other)):
            found = attn("show", stdin=b"\n".join(lines), partial=True)
            assert found.code == 1
            assert found.text.count(" tiny \u00b7 gpt2") == 2
            assert f"line {1 + lines.index(damaged)}: " in found.said
    refused = attn("show", "--format", "csv", stdin=saved)
    assert refused.code == 2 and refused.out == b""
    pretty = json.dumps(json.loads(one), indent=2).encode()
    assert attn("show", stdin=pretty).out == attn("loss", "the king").out
    assert attn("show", stdin=b"\xef\xbb\xbf" + one).out == attn("loss", "the king").out


def test_the_queries_and_keys_of_a_document_are_all_that_is_shown(attn):
    shown = again(attn, "trace", PROMPT, "--query", "is,0", "--key", "China", show=("--step", "5"))
    rows = [line.split() for line in shown.text.splitlines() if "is  " in line[:12]]
    assert rows == [["is", "0.93"]]
    assert "the queries and keys that were not asked for" in flat(shown.text)
    assert "looks at" not in shown.text
    asked = ("trace", PROMPT, "--query", "is")
    told, names = again(attn, *asked).text, attn(*asked, "--json").json["attention"][0]["arrays"]
    titles = re.findall(r"^    (\w+)   \d+ \u00d7 \d+   rows", told, re.MULTILINE)
    assert titles == [name for name in names if name != "visible"]
    few = again(attn, "trace", PROMPT, "--step", "5")
    assert "this page does not show: `visible`, and `masked`." in flat(few.text)
    none = again(attn, "trace", PROMPT, "--step", "5", show=("--step", "3"))
    assert none.code == 2 and "it has 5" in none.said
    assert again(attn, "loss", PROMPT, show=("--step", "3")).code == 2


def test_notes_are_told_and_can_be_silenced(attn):
    saved = attn("trace", PROMPT, "--mask", "padding:6", "--json").out
    assert "note: layer 0: no visible key for query" in attn("show", stdin=saved).said
    assert attn("show", "--quiet", stdin=saved).said == ""


def test_many_tables_become_small_pictures(attn):
    model = ("-m", "random:layers=4,heads=4", "--layer", "all", "--head", "all")
    shape = ("trace", "the king is", *model)
    saved = attn(*shape, "--json").out
    for asked, more in ((shape, {}), (("show",), {"stdin": saved})):
        plain, small = (attn(*asked, *view, **more) for view in ((), ("--view", "dots")))
        assert "208 tables are not printed" in plain.said and "--view heatmap" in plain.said
        assert "weights   " not in plain.text
        assert small.text.count("weights   each row a query") == 4
        assert small.text.count("head 3") == 4 and "208 pictures" in small.said
    whole = attn("show", "--full", "--step", "5", stdin=saved)
    assert whole.said == "" and whole.text.count("\n    weights   ") == 16
    none = attn(*shape, "--step", 6, "--step", 2, "--view", "heatmap", "--step", 1, "--step", 4)
    assert none.code == 0 and "208" not in none.said


def test_an_option_of_pages_says_so_where_there_is_none(attn):
    found = attn("trace", PROMPT, "--view", "dots", "--json")
    assert "--view changes nothing here: json is written in full" in found.said
    assert attn("trace", PROMPT, "--view", "plot").code == 2
    assert attn("loss", PROMPT, "--view", "lines").code == 2


# --- what cannot be shown ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document():
    from cli.conftest import run

    return run("trace", PROMPT, "--json").json


def refused(attn, data, *said):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    found = attn("show", stdin=data)
    assert found.code == 1, found
    for words in said:
        assert words in found.said, found.said
    return found


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"hello", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"\x00\xff", "it is not JSON"),
        ("{}".encode("utf-16"), "it is not JSON"),
        (b"PK\x03\x04", "it is not JSON"),
        (b"x\n{}\n{x}", "it is not JSON (at line 1"),
        (b"[1, NaN]", "it is not JSON"),
        (b'{"schema": "attn.trace/1", "x": Infinity}', "it is not JSON"),
        (b"[" * 5000, "it is not JSON"),
        (b"1e999", "it is not JSON"),
        (b"[]", "no document of attn"),
        (b"null", "no document of attn"),
        (b"{}", "it has no schema of attn"),
        (b'{"schema": 1}', "it has no schema of attn"),
        (b'{"schema": "attn.trace/1\\u001b[31m"}', "it has no schema of attn"),
        (b'{"schema": "attn.trace/2"}', "this attn reads attn.trace/1"),
        (b'{"schema": "attn.show/1"}', "which no command writes"),
        (b'{"schema": "attn.trace/1"}', "has no tool"),
        (b'{"next": []}', "a line of --format ndjson"),
    ],
)
def test_what_is_no_document_is_refused(attn, data, said):
    refused(attn, data, "standard input", said)


def test_lines_of_arrays_are_refused(attn):
    lines = attn("trace", PROMPT, "--step", "5", "--format", "ndjson").out
    found = attn("show", stdin=lines, partial=True)
    assert found.code == 1 and found.out == b""
    refused(attn, lines.splitlines()[0], "without its prompt", "--each line --format ndjson")


DAMAGE = [
    (("attention", 0, "arrays", "weights", "values", 0, 0), [1.0]),
    (("attention", 0, "arrays", "weights", "values", 0, 0, 0), "1.0"),
    (("attention", 0, "arrays", "weights", "values", 0, 0, 0), True),
    (("attention", 0, "arrays", "weights", "values", 0, 0, 0), 1e39),
    (("attention", 0, "arrays", "weights", "values"), 1.0),
    (("attention", 0, "arrays", "weights", "values"), []),
    (("attention", 0, "arrays", "weights", "shape"), [1, 6, 5]),
    (("attention", 0, "arrays", "visible", "values", 0, 0), 1),
    (("attention", 0, "arrays", "q", "axes"), ["head", "key", "width"]),
    (("attention", 0, "arrays", "q"), None),
    (("attention", 0, "arrays", "w\x1b[7m"), {}),
    (("attention", 0, "layer"), 2),
    (("attention", 0, "layer"), -1),
    (("attention", 0, "layer"), 0.5),
    (("attention", 0, "heads"), [9]),
    (("attention", 0, "heads"), []),
    (("attention", 0, "kv_heads"), [1]),
    (("attention", 0, "queries"), [0, 1, 2, 3, 4, 4]),
    (("attention", 0, "keys"), [0, 1, 2, 3, 4, 6]),
    (("attention", 0, "keys"), [0, 1, 2, 3, 4, 1e300]),
    (("attention", 0, "kind"), "cross"),
    (("attention", 0, "scale"), None),
    (("attention", 0, "scale"), 0),
    (("attention",), []),
    (("model",), None),
    (("model", "heads"), 0),
    (("model", "heads"), 1e300),
    (("model", "kv_heads"), 3),
    (("model", "model_width"), 31),
    (("prompt", "tokens"), []),
    (("prompt", "tokens", 0, "position"), 1),
    (("prompt", "tokens", 0, "bytes"), "?"),
    (("settings", "mask"), "none"),
    (("settings", "mask"), [1]),
    (("settings", "attention_temperature"), "hot"),
    (("settings",), {}),
    (("next", 0, "position"), 6),
    (("next", 0, "candidates", 0, "logit"), "7"),
    (("notes",), [1]),
    (("more",), 1),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), DAMAGE, ids=lambda v: str(v)[:60])
def test_a_damaged_trace_is_refused(attn, document, path, value):
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    refused(attn, changed, "standard input: ")


@pytest.mark.parametrize("scale", [1e308, 5e-324])
def test_a_scale_that_is_no_float32_is_shown_as_it_is(attn, document, scale):
    changed = copy.deepcopy(document)
    changed["attention"][0]["scale"] = scale
    found = attn("show", stdin=json.dumps(changed).encode())
    assert found.code == 0 and f"{scale:.6g}" in found.text, found.said


@pytest.mark.parametrize(
    "path", [("attention", 0, "arrays", "weights", "step"), ("next",), ("tool",)]
)
def test_a_trace_without_a_key_is_refused(attn, document, path):
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    refused(attn, changed, f"has no {path[-1]}")


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        (("mask", PROMPT), ("weights_after",), [[1.0]]),
        (("mask", PROMPT), ("removed", 0, "key"), 6),
        (("mask", PROMPT), ("removed", 0, "key"), -1),
        (("mask", PROMPT), ("moved",), [0.5]),
        (("lens", PROMPT), ("positions", 0, "position"), -1),
        (("mask", PROMPT), ("kind",), "both"),
        (("heads", PROMPT), ("weights",), [[[1.0]]]),
        (("heads", PROMPT), ("query",), 77),
        (("heads", PROMPT), ("query",), -1),
        (("heads", PROMPT), ("heads", 0, "looks_at"), [9] * 6),
        (("heads", PROMPT), ("visible",), [[True]]),
        (("heads", PROMPT), ("visible",), [[1.0] * 6] * 6),
        (("embed", "China"), ("nearest", 0, "rank"), -1),
        (("embed", "China"), ("terms",), []),
        (CONTEXTS, ("sides", 0, "position"), -1),
        (CONTEXTS, ("sides", 1, "position"), 9),
        (CONTEXTS, ("sides", 1, "ids"), []),
        (CONTEXTS, ("sides",), []),
        (CONTEXTS, ("layers", 0, "lengths"), [1.0]),
        (CONTEXTS, ("layers",), []),
        (("cost",), ("parameters",), -1),
        (("cost",), ("contexts", 0, "weights_bfloat16"), -4),
        (("cost",), ("contexts",), []),
        (("cost",), ("parts",), []),
        (("cost",), ("attentions",), []),
        (("cost",), ("parts", 0, "shapes"), [[3]]),
        (TWO, ("alignment", 0, "left", 0), -1),
        (TWO, ("alignment", 0, "right"), [0]),
        (TWO, ("alignment", 0, "same"), [True]),
        (TWO, ("alignment",), []),
        (TWO, ("layers", 0, "at"), [-1, 0]),
        (TWO, ("layers", 0, "layer"), 2),
        (TWO, ("layers", 0, "array"), "weights"),
        (TWO, ("cells", 0, "query"), -1),
        (TWO, ("cells", 0, "key"), 5),
        (TWO, ("cells", 0, "head"), 4),
        (TWO, ("prediction", 0, "right_position"), 5),
        (TWO, ("prediction", 0, "tokens"), []),
        (TWO, ("right", "model", "layers"), 0),
        (TWO, ("right", "prompt", "tokens"), []),
        (TWO, ("verdict",), "fine"),
        (("why", PROMPT), ("key",), 6),
        (("why", PROMPT), ("query",), -1),
        (("why", PROMPT), ("head",), 4),
        (("why", PROMPT), ("layer",), 2),
        (("why", PROMPT), ("kind",), "cross"),
        (("why", PROMPT), ("row", 0, "key"), -1),
        (("why", PROMPT), ("direct", "reason"), "none"),
        (ENTRY, ("position",), -1),
        (ENTRY, ("array",), "x"),
        (CHAIN, ("cells",), []),
        (CHAIN, ("cells", 1, "query"), 6),
        (CHAIN, ("cells", 0, "by_key"), []),
        (LOGIT, ("position",), 6),
        (LOGIT, ("by",), []),
        (("tokens", PROMPT), ("tokens", 0, "position"), -1),
        (("tokens", PROMPT), ("own",), -1),
        (("sample", PROMPT), ("candidates",), []),
        (("sample", PROMPT), ("filters",), ["x"]),
        (("sample", PROMPT), ("candidates", 0, "after"), []),
        (("verify", PROMPT), ("verdict",), "fine"),
        (("models",), ("models", 0, "place"), "elsewhere"),
    ],
)  # fmt: skip
def test_results_that_contradict_themselves_are_refused(attn, arguments, path, value):
    changed = attn(*arguments, "--json").json
    at = changed["result"]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    refused(attn, changed, "it is damaged")


def test_a_document_truncated_anywhere_is_refused(attn):
    saved = attn("trace", "the king", "--step", "5", "--json").out.rstrip()
    for cut in [*range(1, 40), *range(40, len(saved), 97)]:
        refused(attn, saved[:cut])


def test_strings_of_a_document_are_data(attn, document):
    hostile = "[red]\x1b[31m\u202e{x}%s\x07"
    changed = copy.deepcopy(document)
    changed["model"]["name"] = changed["model"]["family"] = changed["prompt"]["text"] = hostile
    changed["model"]["source"] = hostile
    for token in changed["prompt"]["tokens"]:
        token["text"] = hostile
    changed["next"][0]["candidates"][0]["text"] = hostile
    changed["settings"]["mask"], changed["notes"] = [hostile], [hostile]
    data = json.dumps(changed).encode()
    for view in ("table", "heatmap", "dots", "lines"):
        found = attn("show", "--view", view, stdin=data)
        assert found.code == 0
        assert "[red]\\x1b[31m\\u202e{x}%s\\x07" in found.text
    assert "[red]\\x1b[31m" in found.said


def test_what_a_document_would_take_is_known_before_it_is_read(attn, monkeypatch):
    from attn_cli import machine

    monkeypatch.setattr(machine, "available", lambda: 1 << 20)
    refused(attn, b"[" + b"[]," * 20_000 + b"1]", "would take", "MiB of memory")
    many = b'{"schema": [' + b"[]," * (1 << 20) + b"1]}"
    refused(attn, many, "too many lists and objects")
    monkeypatch.setattr(machine, "available", lambda: 1 << 30)
    many = b'{"schema": [0' + b",0" * (1 << 22) + b",1]}"
    refused(attn, many, "too many values")
    many = b'{"schema": ["a"' + b',"a"' * (1 << 21) + b"]}"
    refused(attn, many, "too many texts")
    refused(attn, b"y\n" * (1 << 21) + b"y", "it is not JSON (at line 1")


def test_what_lacks_a_name_of_every_document_is_refused_before_it_is_read(attn, monkeypatch):
    from attn_cli.views import saved

    monkeypatch.setattr(saved, "parsed", lambda data: pytest.fail("it was read"))
    zeros = b"[0.0" + b",0.0" * (1 << 20) + b"]"
    refused(attn, b'{"a": ' + zeros + b"}", "it has no schema of attn")
    refused(attn, b'{"schema": "attn.trace/1", "attention": ' + zeros + b"}", "has no tool")


def test_without_anything_to_show_it_says_what_to_type(attn, tmp_path):
    found = attn("show")
    assert found.code == 2 and "attn trace --json | attn show" in found.said
    assert attn("show", tmp_path / "none.json").code == 1
    assert attn("show", tmp_path).code == 1


# --- drawn formats -------------------------------------------------------------------------------

DRAWN = (PROMPT, "--head", "1", "--parameters", "--json")


def data_of(page):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page)[1])


def test_a_saved_trace_is_a_page_of_the_same_numbers(attn):
    asked = ("the king is", "--layer", "all", "--head", "all")
    for more in ((), ("--attention-temperature", "0.5", "--without-head", "1.2")):
        plain = data_of(attn("trace", *asked, *more, "--format", "html").text)
        saved = attn("trace", *asked, *more, "--parameters", "--after", "--json").out
        found = data_of(attn("show", "--format", "html", stdin=saved).text)
        for name in ("temperature", "mask_value", "sides", "masks", "changes", "what_if"):
            assert found[name] == plain[name], name
        for theirs, ours in zip(found["blocks"], plain["blocks"], strict=True):
            for name in ("arrays", "out", "heads", "kv", "removed", "scale", "cap", "what_if"):
                assert theirs[name] == ours[name], name
        assert any("does not hold" in note for note in found["notes"]), found["notes"]


def test_a_saved_trace_is_a_workbook_of_the_same_numbers_and_formulas(attn):
    saved = attn("trace", *DRAWN).out
    found = workbooks.read(attn("show", "--format", "xlsx", stdin=saved).out)
    plain = workbooks.read(attn("trace", *DRAWN[:3], "--format", "xlsx").out)
    for name in ("q", "k", "v", "scores", "scaled", "masked", "weights", "z", "head_output"):
        cells = {at: (c.formula, c.value) for at, c in found[name].items()}
        assert cells == {at: (c.formula, c.value) for at, c in plain[name].items()}, name


def test_a_head_that_was_removed_stays_removed(attn):
    asked = ("trace", PROMPT, "--head", "0,1", "--without-head", "0.1", "--step", "6")
    page = attn(*asked).text
    assert page.count("removed this head") == 1
    shown = attn("show", "--step", "6", stdin=attn(*asked[:-2], "--json").out).text
    assert shown.count("removed this head") == 1


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        (("--step", "5"), "html", "it lacks x, q, k, v, scores and"),
        ((), "html", "it lacks w_o, from which html is made"),
        (("--step", "5"), "xlsx", "it lacks x, q, k, v, scores and"),
        (("--query", "1", "--parameters"), "html", "it lacks some queries or keys"),
        (("--head", "0,1", "--parameters"), "xlsx", "one head of one layer"),
        (("--step", "3"), "svg", "it lacks `weights` or `visible`"),
    ],
)
def test_what_a_saved_trace_lacks_is_said(attn, options, kind, said):
    run = attn("show", "--format", kind, stdin=attn("trace", PROMPT, *options, "--json").out)
    assert (run.code, run.out) == (1, b"")
    assert said in run.said


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        (("sample", "the", "--seed", "1", "--draws", "5"), ("settings", "draws")),
        (("sample", "the", "--seed", "1"), ("settings", "seed")),
        (("tokens", "the"), ("result", "tokens", 0, "bytes")),
    ],
)
def test_no_value_of_a_document_moves_the_screen(attn, tmp_path, asked, place):
    document = attn(*asked, "--json").json
    *way, last = place
    holder = document
    for key in way:
        holder = holder[key]
    holder[last] = "\x1b[2J\u202e"
    path = tmp_path / "d.json"
    path.write_text(json.dumps(document))
    run = attn("show", path)  # which looks at every run for such characters
    assert run.code in (0, 1) and "\x1b" not in run.text
