"""`attn train --objective translate`: pairs in, a T5-layout folder out that the commands open."""

import pytest

PAIRS = "the cat sees a dog\tchat voit chien\nthe dog sees a cat\tchien voit chat\na cat\tchat\n"
SMALL = ("--objective", "translate", "--width", 8, "--heads", 2, "--steps", 3)


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(PAIRS)
    return path


@pytest.fixture
def train(attn, pairs, tmp_path):
    return lambda *arguments: attn("train", pairs, "--out", tmp_path / "m", *SMALL, *arguments)


def test_a_run_leaves_a_folder_that_the_other_commands_open(attn, train, tmp_path):
    watched = ("--watch-prompt", "the cat sees a dog", "--watch-key", "cat", "--watch", "dog")
    page = " ".join(train(*watched).text.split())
    assert "the first word that is written looks at `cat` in `the cat sees a dog`" in page
    assert "how often each source has each translation" in page
    shown = ("trace", "the cat sees a dog", "--model", tmp_path / "m", "--kind", "cross", "--json")
    document = attn(*shown, "--layer", "all", "--head", "all").json
    assert document["model"]["family"] == "t5"
    for block in document["attention"]:
        shares = [f"{head[0][1]:.2f}" for head in block["arrays"]["weights"]["values"]]
        assert f"layer {block['layer']} {' '.join(shares)}" in " ".join(
            word for word in page.split() if not set(word) & set("█▉▊▋▌▍▎▏")
        )


def test_nothing_is_watched_in_pairs_of_ones_own(train):
    ended = train()
    assert (ended.code, "looks at" in ended.text) == (0, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nno tab\n", "pairs.txt: line 2 has no tab"),
        ("a\tb\n\tc\n", "pairs.txt: line 2 has nothing before its tab"),
        ("\na\tb\n", "pairs.txt: line 2 is the only pair"),
        ("", "pairs.txt: there are no pairs"),
    ],
)
def test_bad_pairs_are_told_by_file_and_line(train, pairs, tmp_path, text, message):
    pairs.write_text(text)
    refused = train()
    assert (refused.code, message in refused.said) == (1, True), refused.said
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--context", 16), "--context has no effect with --objective translate"),
        (("--watch-query", "cat"), "--watch-query has no effect with --objective translate"),
        (("--mask", "none"), "--mask has no effect with --objective translate"),
        (("--learning-rate", "1e300", "--steps", 5), "the loss is no longer a number"),
    ],
)
def test_what_cannot_be_trained_is_refused(train, arguments, message):
    refused = train(*arguments)
    assert (refused.code, message in refused.said) == (2, True), refused.said


def test_pairs_too_long_for_this_machine_are_refused(train, pairs):
    pairs.write_text(PAIRS + "a cat " * 100_000 + "\tchat\n")
    refused = train()
    assert refused.code == 1
    assert "of 200,001 tokens" in refused.said
    assert "hint: what fits: the pairs without the longest" in refused.said
