"""How tokens came about: each rule is applied again here, plainly, from the tokenizer's file."""

import importlib.util
import json
from functools import cache
from itertools import combinations, pairwise
from math import isclose, isnan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from attn_cli.errors import ContentError
from attn_cli.opening.load import load, tokenizer_of
from attn_cli.tokens import origins
from attn_cli.tokens.gguf import from_metadata
from attn_cli.tokens.library import LibraryTokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
TEXTS = json.loads((GOLDEN / "tokens.json").read_text())["texts"]
TEXTS = [
    *TEXTS,
    "the unhappiest thinkers 孔子 say: <unk> [UNK] </s>",
    "def f(x):\n    return x  # 中",
]
BYTE_PAIRS = ("gpt2", "qwen2", "roberta", "modernbert", "llama2", "llama3", "tekken")
UNIGRAMS = ("t5", "xlm-roberta", "camembert", "albert", "deberta")
WORD_PIECES = ("bert", "bert-cased")
FOLDERS = ("gemma", "generic", "llama", "phi3-symbols", "mt5", "deberta-lower", "opt", "electra")
_SPEC = importlib.util.spec_from_file_location("make", GOLDEN / "make_llama_cpp.py")
MAKER = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(MAKER)
STORED = json.loads((GOLDEN / "llama_cpp.json").read_text())["files"]
DRAWN = st.lists(
    st.one_of(st.sampled_from(TEXTS), st.text("theinkr ABz1.孔\n", max_size=12), st.characters(
        exclude_categories=["Cs"])), max_size=4,
).map("".join)  # fmt: skip


@cache
def read(name):
    kind, _, name = name.rpartition("/")
    if kind == "gguf":
        return from_metadata(MAKER.metadata(STORED[name]), "x.gguf")
    return load(name).tokenizer if kind == "model" else tokenizer_of(GOLDEN / kind / name)


@cache
def model_of(name):
    return json.loads((GOLDEN / "tokenizers" / name / "tokenizer.json").read_text())["model"]


EVERY = [
    *(f"tokenizers/{name}" for name in (*BYTE_PAIRS, *UNIGRAMS, *WORD_PIECES)),
    *(f"folders/{name}" for name in FOLDERS), *(f"gguf/{name}" for name in STORED),
    *(f"model/{name}" for name in ("tiny", "tiny-encoder", "tiny-translator", "smollm2")),
]  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_what_is_explained_are_the_tokens_and_every_one_of_them(name):
    tokenizer = read(name)
    for text in TEXTS:
        try:
            wanted = tokenizer.encode(text, special=False)
        except ContentError:
            with pytest.raises(ContentError):
                tokenizer.explain(text)
            continue
        parts = tokenizer.explain(text)
        cuts = [cut for part in parts for cut in part.cuts]
        assert [(cut.id, cut.span) for cut in cuts] == [(token.id, token.span) for token in wanted]
        assert {part.steps.how for part in parts} <= {*origins.HOW} - {"unexplained", "long"}


def replayed(part):
    """The pieces of a word after its merges, each checked to be of neighbours that are there."""
    pieces = list("".join(cut.entry for cut in part.cuts))
    for merge in part.steps.merges:
        assert pieces[merge.at : merge.at + 2] == [merge.left, merge.right]
        pieces[merge.at : merge.at + 2] = [merge.left + merge.right]
    return pieces


def in_order(merges, text):
    """The rule as it is told: of all neighbours the pair of the lowest rank, leftmost first."""
    ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
    pieces = list(text)
    while True:
        found = enumerate(pairwise(pieces))
        pairs = [(ranks[pair], at, *pair) for at, pair in found if pair in ranks]
        if not pairs:
            return
        rank, at, left, right = min(pairs)
        yield left, right, at, rank
        pieces[at : at + 2] = [left + right]


@pytest.mark.parametrize("name", BYTE_PAIRS)
@settings(max_examples=40)
@given(text=DRAWN)
def test_merges_are_those_of_the_file_in_their_order(name, text):
    merges = [tuple(pair) for pair in model_of(name)["merges"]]
    for part in read(f"tokenizers/{name}").explain(text):
        if part.steps.how != origins.MERGED:
            continue
        word = "".join(cut.entry for cut in part.cuts)
        assert [merge[:4] for merge in part.steps.merges] == list(in_order(merges, word))
        assert replayed(part) == [cut.entry for cut in part.cuts]
        for merge in part.steps.merges:
            assert merges[merge.rank] == (merge.left, merge.right)
            assert isnan(merge.score)


def test_a_word_that_is_an_entry_is_one_token_without_merges_where_the_file_says_so():
    [whole, merged] = read("tokenizers/llama3").explain(" greatest the")
    assert (whole.steps.how, merged.steps.how) == (origins.WHOLE, origins.WHOLE)
    [word] = read("tokenizers/gpt2").explain(" the")
    assert word.steps.how == origins.MERGED and len(word.steps.merges) == 3


@pytest.mark.parametrize("name", ["llama", "equal-scores", "random-scores", "few-scores"])
@settings(max_examples=30)
@given(text=st.text("theink ▁孔", max_size=20))
def test_a_gguf_files_scores_decide_what_merges_first(name, text):
    keys = MAKER.metadata(STORED[name])
    scores = dict(
        zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.scores"], strict=True)
    )  # fmt: skip
    for part in read(f"gguf/{name}").explain(text):
        if part.steps.how != origins.MERGED:
            continue
        entries = [cut.entry for cut in part.cuts]
        pieces = list("".join(entries))
        for merge in part.steps.merges:
            found = [(-scores[a + b], i) for i, (a, b) in enumerate(pairwise(pieces))
                     if a + b in scores]  # fmt: skip
            assert (-merge.score, merge.at) == min(found)
            assert merge.rank == -1
            pieces[merge.at : merge.at + 2] = [merge.left + merge.right]
        assert pieces == entries


def every_way(text, scores):
    """The sums of all ways to cut a text into entries, best first, with the ways."""
    found = []
    for count in range(len(text)):
        for places in combinations(range(1, len(text)), count):
            pieces = tuple(text[a:b] for a, b in pairwise([0, *places, len(text)]))
            if all(piece in scores for piece in pieces):
                found.append((sum(scores[piece] for piece in pieces), pieces))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("name", UNIGRAMS)
def test_a_unigram_words_sum_is_the_best_and_the_runner_up_the_next(name):
    scores = dict(map(tuple, model_of(name)["vocab"]))
    several = 0
    for text in ("the greatest thinker is unhappy", "thinks in x1, he", *TEXTS[:3]):
        for part in read(f"tokenizers/{name}").explain(text):
            entries = tuple(cut.entry for cut in part.cuts)
            if part.steps.how != origins.SCORES or len("".join(entries)) > 12:
                continue
            ways = every_way("".join(entries), scores)
            assert part.steps.scores == pytest.approx([scores[entry] for entry in entries])
            assert isclose(sum(part.steps.scores), ways[0][0], rel_tol=1e-9)
            assert len(ways) == 1 or isclose(part.steps.runner_up_score, ways[1][0], rel_tol=1e-9)
            assert part.steps.runner_up in [way for _, way in ways] + [()] * (len(ways) == 1)
            assert part.steps.runner_up != entries
            several += len(ways) > 1
    assert several > 5


@pytest.mark.parametrize("name", [*(f"tokenizers/{name}" for name in WORD_PIECES), "model/tiny"])
def test_a_word_piece_is_the_longest_entry_that_goes_on(name):
    tokenizer, several = read(name), 0
    for text in ("the unhappiest thinkers think", *TEXTS):
        for part in tokenizer.explain(text):
            if part.steps.how != origins.PIECES:
                continue
            entries = [cut.entry for cut in part.cuts]
            rest = entries[0] + "".join(entry[2:] for entry in entries[1:])
            several += len(entries) > 1
            for place, entry in enumerate(entries):
                mark = "##" * bool(place)
                known = [
                    e for e in range(1, len(rest) + 1) if tokenizer.id_of(mark + rest[:e]) >= 0
                ]
                assert mark + rest[: max(known)] == entry
                rest = rest[max(known) :]
            assert not rest
    assert several > 5


# --- parts ---------------------------------------------------------------------------------------


def hows(parts):
    return [(part.steps.how, "".join(cut.entry for cut in part.cuts)) for part in parts]


def test_the_bytes_of_a_character_are_one_part_and_what_is_written_another():
    parts = read("tokenizers/llama2").explain("the 孙<s>鸡鸡e")
    hen = ("bytes", "<0xE9><0xB8><0xA1>")
    assert hows(parts) == [
        ("merged", "▁the"), ("merged", "▁"), ("bytes", "<0xE5><0xAD><0x99>"), ("found", "<s>"),
        ("merged", "▁"), hen, hen, ("merged", "e"),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "unknown"), [
    ("tokenizers/bert", "[UNK]"), ("tokenizers/deberta", "[UNK]"), ("tokenizers/t5", "<unk>"),
    ("gguf/t5", "<unk>"), ("model/tiny", "[UNK]"), ("gguf/bert", "[UNK]"),
])  # fmt: skip
def test_what_is_unknown_is_not_what_is_written(name, unknown):
    parts = read(name).explain(f"the ☃ {unknown}")
    inside = [part.steps.how for part in parts if part.cuts[0].entry.strip("▁")]
    assert inside[-2:] == ["unknown", "found"]


def bpe(**options):
    vocabulary = {text: id for id, text in enumerate(["a", "b", "ab", "b</w>", "ab</w>"])}
    made = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("a", "b</w>")], **options))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def test_a_way_of_cutting_that_is_not_known_is_not_explained():
    plain, marked = LibraryTokenizer(bpe()), LibraryTokenizer(bpe(end_of_word_suffix="</w>"))
    assert hows(plain.explain("ab")) == [("merged", "ab")]
    assert hows(marked.explain("ab")) == [("unexplained", "ab</w>")]


def test_words_alone_are_whole_and_another_model_is_not_explained():
    made = Tokenizer(models.WordLevel({"the": 0, "king": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert hows(LibraryTokenizer(made).explain("the king")) == [("whole", "the"), ("whole", "king")]
    assert origins.by_nothing(("the",), True) is None


def test_a_very_long_word_is_left_alone():
    tokenizer = read("tokenizers/gpt2")
    [short] = tokenizer.explain("a" * origins.MOST)
    [long] = tokenizer.explain("a" * (origins.MOST + 1))
    assert (short.steps.how, long.steps.how) == (origins.MERGED, origins.LONG)
    assert "".join(cut.entry for cut in long.cuts) == "a" * (origins.MOST + 1)


def test_merges_written_in_one_string_are_read_too():
    told = {"type": "BPE", "merges": ["a b"], "ignore_merges": False}

    class Model:
        def __getstate__(self):
            return json.dumps(told).encode()

    from attn_cli.tokens.library import explaining

    found = explaining(Model())(("ab",), True)
    assert [merge[:4] for merge in found.merges] == [("a", "b", 0, 0)]


def test_an_added_token_that_takes_the_space_before_it_is_found():
    made = bpe()
    made.add_tokens([AddedToken("<m>", lstrip=True, special=True)])
    assert [how for how, _ in hows(LibraryTokenizer(made).explain("ab <m>"))] == ["merged", "found"]


def test_entries_are_read_as_tokens_are():
    assert read("tokenizers/gpt2").readable("ĠChina") == " China"
    assert read("tokenizers/gpt2").readable("åŃ") == "<0xE5><0xAD>"
    assert read("tokenizers/llama2").readable("▁the") == " the"
    assert read("gguf/t5").readable("▁the") == " the"
    assert read("model/tiny").readable("##ing") == "##ing"


def cut(entry, word=0, how=""):
    return origins.Cut(0, entry, (0, 1), how, word)


def test_only_all_that_was_cut_by_itself_is_whole():
    """A part beside another of the same word was merged, although it is an entry."""
    algorithm, byte = origins.by_rank({("a", "b"): 0}, whole=True), cut("<0xE4>", how="bytes")
    for cuts, hows_ in (
        ([cut("ab"), cut("ab", word=1)], ["whole", "whole"]),
        ([cut("ab"), byte], ["merged", "bytes"]), ([byte, cut("ab")], ["bytes", "merged"]),
    ):  # fmt: skip
        parts = origins.explained(cuts, algorithm)
        assert [part.steps.how for part in parts] == hows_


def test_tokens_of_another_sum_than_the_best_are_not_explained():
    algorithm = origins.by_sum({"a": -1.0, "b": -1.0, "ab": -1.5, "c": -1.0})
    assert algorithm(("a", "b"), True) is None
    assert algorithm(("a", "x"), True) is None
    steps = algorithm(("ab", "c"), True)
    assert (steps.scores, steps.runner_up, steps.runner_up_score) == (
        (-1.5, -1.0), ("a", "b", "c"), -3.0,
    )  # fmt: skip


def test_of_equal_sums_the_other_is_the_next_best():
    steps = origins.by_sum({"a": -1.0, "b": -1.0, "ab": -2.0})(("a", "b"), True)
    assert (steps.runner_up, steps.runner_up_score) == (("ab",), -2.0)
