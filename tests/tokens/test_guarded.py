"""Files that make the library panic, or take all memory or for ever: errors, and nothing said."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from attn_cli.errors import ContentError
from attn_cli.tokens import guarded
from attn_cli.tokens.folder import read

GOLDEN = Path(__file__).parents[1] / "golden"
PUBLISHED = sorted(path.parent.name for path in GOLDEN.glob("tokenizers/*/tokenizer.json"))
WORDS = {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2}, "unk_token": "[UNK]"}
PAIRS = {
    "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
    "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
    "vocab": {"a": 0, "b": 1, "aa": 2}, "merges": ["a a"],
}  # fmt: skip
TEMPLATE = {
    "type": "TemplateProcessing", "single": [{"Sequence": {"id": "B", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}  # fmt: skip
LONG = "a" * 40 + "b a"
SLOW = "(a+)+$"  # for each a twice as many ways


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def replacing(old, new, kind="String"):
    return {"type": "Replace", "pattern": {kind: old}, "content": new}


def charsmap(blob):
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": blob}}


def added(**ids):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"added_tokens": [{"id": id, "content": text, **flags} for text, id in ids.items()]}


DOUBLING = {"normalizer": {"type": "Sequence", "normalizers": [replacing("a", "aa")] * 40}}
UNREAD = {
    "a pattern": {"pre_tokenizer": split(SLOW)},
    "a pattern that replaces": {"normalizer": replacing(SLOW, "b", "Regex")},
    "a template without its text": {"post_processor": TEMPLATE},
    "pieces of no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "a charsmap that leads astray": charsmap("CAAAAP////8AAAAA"),
}
UNMADE = {
    "a charsmap of nothing": (charsmap("AAAA"), "not a tokenizer.json that can be read"),
    "merges of nothing": (
        {"model": PAIRS | {"vocab": {"a": 0, "b": 1}}}, "not a tokenizer.json that can be read",
    ),
    "merges by chance": ({"model": PAIRS | {"dropout": 0.5}}, "merges by chance (dropout 0.5)"),
    "an added token of another's id": (added(zz=1), "the id 1 to two tokens, 'a' and 'zz'"),
    "two added tokens of one id": (added(zz=7, yy=7), "the id 7 to two tokens, 'yy' and 'zz'"),
}  # fmt: skip


def written(folder: Path, **changes) -> Path:
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    whole = {"version": "1.0", **dict.fromkeys(parts), "added_tokens": [], "model": WORDS}
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(whole | changes))
    return path


@pytest.mark.parametrize("name", UNREAD)
def test_what_the_library_gives_up_over_is_an_error_and_nothing_is_said(name, tmp_path, capfd):
    tokenizer = read(written(tmp_path, **UNREAD[name]))
    for ask in (tokenizer.encode, tokenizer.explain):
        with pytest.raises(ContentError, match="cannot read this prompt: the library gave up"):
            ask(LONG)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", UNMADE)
def test_what_cannot_be_made_is_an_error_and_nothing_is_said(name, tmp_path, capfd):
    changes, said = UNMADE[name]
    with pytest.raises(ContentError) as raised:
        read(written(tmp_path, **changes))
    assert said in raised.value.message
    assert capfd.readouterr() == ("", "")


def test_two_words_of_one_id_are_named(tmp_path):
    vocabulary = {"[UNK]": 0, "a": 1, "b": 1}
    with pytest.raises(ContentError, match="the id 1 to two tokens, 'a' and 'b'"):
        assert read(written(tmp_path, model=WORDS | {"vocab": vocabulary})).size


def test_an_added_token_that_the_vocabulary_has_too_is_one_token(tmp_path):
    tokenizer = read(written(tmp_path, **added(a=1)))
    assert (tokenizer.size, [token.id for token in tokenizer.encode("a")]) == (3, [1])


def test_a_decoder_that_cannot_is_an_error(tmp_path, capfd):
    tokenizer = read(written(tmp_path, decoder=replacing(SLOW, "b", "Regex")))
    assert tokenizer.decode([2, 2]) == "bb"
    long = {"vocab": {"[UNK]": 0, LONG: 1, "b": 2}}
    tokenizer = read(written(tmp_path, decoder=replacing(SLOW, "b", "Regex"), model=WORDS | long))
    with pytest.raises(ContentError, match="cannot write these tokens as a text"):
        tokenizer.decode([1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "changes",
    [DOUBLING, {"normalizer": replacing("a", "a" * 10_000_000)}],
    ids=["doubled and doubled", "a long text for a letter"],
)
def test_a_text_that_grows_without_end_is_an_error(changes, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(guarded, "_ROOM", 1 << 26)
    tokenizer = read(written(tmp_path, **changes))
    with pytest.raises(ContentError, match="too much memory, or ends the process"):
        tokenizer.encode(LONG)
    assert capfd.readouterr() == ("", "")


def test_ids_far_apart_are_no_list_of_all_between(tmp_path):
    tokenizer = read(written(tmp_path, model=PAIRS | {"vocab": {"a": 0, "b": 4 * 10**9, "aa": 2}}))
    assert [token.id for token in tokenizer.encode("aab")] == [2, 4 * 10**9]
    with pytest.raises(ContentError, match="ids up to 4,000,000,000"):
        tokenizer.explain("aab")


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_tokenizer_needs_a_process_of_its_own(name, monkeypatch):
    forked = []
    monkeypatch.setattr(os, "fork", lambda: forked.append(name))
    tokenizer = read(GOLDEN / "tokenizers" / name / "tokenizer.json")
    found = tokenizer.encode("the greatest thinker in China is")
    tokenizer.decode([token.id for token in found])
    assert (len(found) > 5, forked) == (True, [])


def test_a_pattern_of_ones_own_that_behaves_cuts_as_it_says(tmp_path, monkeypatch):
    forks, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forks.append(1) or fork())
    tokenizer = read(written(tmp_path, pre_tokenizer=split("[ab]")))
    assert [token.id for token in tokenizer.encode("abba")] == [1, 2, 2, 1]
    assert forks == [1]


@pytest.mark.faults
@pytest.mark.parametrize(
    "changes",
    [
        {"pre_tokenizer": split(SLOW)},
        {
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 10**12, "vocab": {"[UNK]": 0, "a": 1, "##a": 2},
            }
        },
    ],
    ids=["many slow words", "a word without end"],
)  # fmt: skip
def test_what_takes_for_ever_is_an_error_in_seconds(changes, tmp_path):
    tokenizer = read(written(tmp_path, **changes))
    text = ("a" * 21 + "b ") * 200 if "pre_tokenizer" in changes else "a" * 20_000 + "z"
    with pytest.raises(ContentError, match="far longer than such a text should"):
        tokenizer.encode(text)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_what_is_tried(number, tmp_path):
    path = written(tmp_path, pre_tokenizer=split(SLOW))
    code = (
        "import sys\nfrom pathlib import Path\nfrom attn_cli import signals\n"
        "from attn_cli.tokens import folder, guarded\n"
        "signals.listen()\nguarded._SECONDS = 600\n"
        f"tokenizer = folder.read(Path({str(path)!r}))\nprint('begun', flush=True)\n"
        "try: tokenizer.encode(('a' * 21 + 'b ') * 200000)\n"
        "except (KeyboardInterrupt, signals.Terminated): sys.exit(130)\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root}, start_new_session=True,
    ) as running:  # fmt: skip
        running.stdout.readline()
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        while not (child := children.read_text().strip()):
            assert running.poll() is None
        running.send_signal(number)
        assert (running.wait(60), running.stderr.read()) == (130, b"")
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize(
    ("pattern", "risky"),
    [
        ("<s>", False), (r"<\|end\|>|<\|user\|>", False), ("▁", False), ("[INST]", True),
        (r"\d", False), (r"a|", True), ("a+", True), (r"\1", True), ("(a)", True), (r"a\\", False),
    ],
)  # fmt: skip
def test_only_a_pattern_that_can_match_in_several_ways_is_tried_out(pattern, risky):
    assert guarded.is_risky([split(pattern)], None) == risky
