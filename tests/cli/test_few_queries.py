"""A page of a few queries: its memory grows with the text as it does, and it tells of the whole."""

import re
import tracemalloc

import numpy as np
import pytest
from made_folders import made_folder

from attn_cli import session, vocabulary
from attn_cli.cli.options import OutputOptions
from attn_cli.cli.output import drawn
from attn_cli.cli.trace import page_of
from attn_cli.words import table

ALL = frozenset(range(1, 7))


def ids(count):
    return ",".join(str(3 + 7 * i % 30) for i in range(count))


@pytest.fixture(scope="module")
def models(golden_path, tmp_path_factory):
    """Where models of these names are."""
    sunk = made_folder(tmp_path_factory.mktemp("models") / "sunk", "gpt_oss-a")
    return lambda name: sunk if name == "sunk" else golden_path / name


# --- memory --------------------------------------------------------------------------------------


def peak(attn, *asked):
    tracemalloc.start()
    try:
        attn("trace", "--no-next", "--force-context", *asked)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("llama-plain", ("--query", 5)), ("sunk", ("--query", 2, "--step", "4,5")),
        ("llama-plain", ("--query", "5,600", "--view", "heatmap", "--layer", 1)),
        ("mistral-window", ("--query", 1, "--key", "0-9", "--view", "dots")),
    ],
)  # fmt: skip
def test_a_square_is_never_there(attn, models, model, more, monkeypatch):
    """Not one of floats, nor of true and false beside what grows with the tokens."""
    monkeypatch.setenv("ATTN_THREADS", "1")  # each thread keeps room of its own
    typed = (*more, "-m", models(model), "--quiet")
    peak(attn, *typed, "--ids", ids(40))  # what is imported and kept from now on
    assert peak(attn, *typed, "--ids", ids(2600)) < 4 * 2600**2 / 2


def test_what_a_page_needs_is_known_before(attn, models):
    """The pages of few queries fit where the square of one head does not."""
    where = ("-m", models("llama-plain"), "--force-context", "--no-next")
    asked = ("trace", "--ids", ids(1300), *where, "--max-memory", "12MB")
    assert "fewer rows (attn trace --query A-B)" in attn(*asked).said
    assert "weights   2 × 1300" in attn(*asked, "--query", "5-6").text


# --- what is said --------------------------------------------------------------------------------

# Queries and keys, as typed and as positions.
CHOICES = {
    ("2", ""): ((2,), range(6)), ("5,1", ""): ((5, 1), range(6)), ("0", "0"): ((0,), (0,)),
    ("1-3", "1,4"): ((1, 2, 3), (1, 4)), ("2,0,4", "5"): ((2, 0, 4), (5,)),
    ("3,0-2,5,4", ""): ((3, 0, 1, 2, 5, 4), range(6)),
    ("3,0-2,5,4", "5,0-4"): ((3, 0, 1, 2, 5, 4), (5, 0, 1, 2, 3, 4)),
}  # fmt: skip
SHOWN = vocabulary.DEFAULT_ARRAYS | vocabulary.EMBEDDING_PARTS | {"b_q", "b_o", "mlp_output"}


MASKED = [(), ("window:2",), ("prefix:3", "block:4:1"), ("none",)]
MODELS = ["mistral-window", "sunk", "bloom", "deberta-both", "t5-encoder"]


@pytest.mark.parametrize("mask", MASKED)
@pytest.mark.parametrize("model", MODELS)
def test_the_page_is_that_of_the_whole_trace(attn, models, model, mask):
    """Each choice with each model, and with each mask."""
    given = {"ids": [5, 6, 7, 5, 9, 11], "layer": 1, "head": 1, "mask": mask, "ending": True}
    trace = session.trace(model=str(models(model)), arrays=SHOWN, **given)
    words = [word for one in mask for word in ("--mask", one)]
    asked = ("trace", "--ids", "5,6,7,5,9,11", "-m", models(model), "--layer", 1, "--head", 1)
    out = OutputOptions()
    begin = (MODELS.index(model) + MASKED.index(mask)) % 3
    for (query, key), shown in list(CHOICES.items())[begin::3]:
        found = attn(*asked, *words, "--query", query, *(("--key", key) if key else ()))
        of_all = dict.fromkeys((block.address for block in trace.attention), shown)
        page = page_of(trace, out, quiet=True, steps=ALL, follow=True, shown=of_all)
        assert found.out == drawn(page, out), (query, key)


def sentence(attn, *asked):
    """What the page says of the mask."""
    page = " ".join(attn("trace", *asked, "--step", 4, "--no-next").text.split())
    return re.search(r"(The mask hides|Nothing is hidden).*?(?= masked \d)", page)[0]


@pytest.mark.parametrize("shown", [(), ("--query", 2), ("--query", "140,0", "--key", "3-5")])
@pytest.mark.parametrize("width", [1, 2, 3, 100, 149, 150, 151])
def test_a_window_is_told_by_the_whole_mask(attn, models, width, shown):
    """Whatever of it is shown: more than one block of queries, the first of which sees all."""
    count = 150
    apart = np.arange(count)[:, None] - np.arange(count)
    visible = (apart >= 0) & (apart < width)
    asked = ("--ids", ids(count), "-m", models("llama-plain"), "--force-context", *shown)
    said = sentence(attn, *asked, "--mask", f"window:{width}")
    assert f"The mask hides {(~visible).sum()} of {count**2} cells." in said
    near = "1 token" if width == 2 else f"the {width - 1} tokens"
    is_window = f"A window: each query sees itself and, at most, {near} before it." in said
    assert is_window == (1 < width < count)
    assert ("It hides later tokens from earlier ones" in said) == (width >= count)


@pytest.mark.parametrize("shown", [(), ("--query", 1)])
@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        ("causal", "later tokens from earlier ones, as a decoder's does"),
        ("window:2", "at most, 1 token on either"), ("window:4", "the 3 tokens on either"),
        ("window:1", ""), ("prefix:3", ""), ("block:2:3", ""), ("none", "an encoder reads"),
    ],
)  # fmt: skip
def test_the_kind_of_an_encoders_mask(attn, mask, kind, shown):
    said = sentence(attn, "the king is a man", "-m", "tiny-encoder", "--mask", mask, *shown)
    assert kind in said
    named = ("It hides later", "A window", "reads the whole text")
    assert sum(words in said for words in named) == bool(kind)


def test_a_hidden_cell_elsewhere_is_told_of(attn):
    """The last query sees every key, and others do not."""
    asked = ("trace", "the king is a man", "--step", 5, "--no-next")
    said = "A hidden cell gets 0"
    pages = attn(*asked, "--query", 4).text, attn(*asked, "--query", 4, "--mask", "none").text
    assert [said in " ".join(page.split()) for page in pages] == [True, False]


@pytest.mark.parametrize("query", [range(6), (0, 2, 3), (3, 2), (4, 0, 5), (5,), (2, 0, 1)])
@pytest.mark.parametrize("key", [range(6), (5, 3), (2,), (0,)])
def test_the_example_of_a_hidden_pair(attn, query, key):
    """The followed query's favourite of the shown keys that one is hidden from, and an early query;
    of several such pairs the first."""
    typed = (",".join(map(str, places)) for places in (query, key))
    asked = [word for pair in zip(("--query", "--key"), typed, strict=True) for word in pair]
    text = "the greatest thinker in China is"
    weights = session.trace(text, layer=1, head=2).attention[0].weights[0]
    favourite = int(np.argmax(weights[query[-1]]))
    hidden = [(q, k) for q in query for k in key if k > q]
    first = min(hidden, key=lambda pair: (pair[1] != favourite, abs(pair[0] - 1)), default=())
    page = attn("trace", text, "--layer", 1, "--head", 2, "--step", 4, *asked).text
    said = " ".join(page.split())
    assert bool(first) == ("may not look at" in said)
    if first:
        example = {"query": text.split()[first[0]], "key": text.split()[first[1]]}
        assert table("en")["mask.example"].format(**example) in said
