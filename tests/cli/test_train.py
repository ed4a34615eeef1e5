"""`attn train`: saves an ordinary folder, stops without losing anything, and overwrites nothing."""

import os
import re
import shlex
import signal

import pytest

from attn_cli.errors import Terminated, UsageError
from attn_cli.training import loop

LINES = (
    "the cat sees the dog\nthe dog sees the cat\na mouse runs\n"
    "a cat runs\na dog runs\nthe mouse sees a cat\n"
)
SMALL = ("--width", 8, "--heads", 2, "--context", 16)
FILES = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(LINES)
    return path


@pytest.fixture
def train(attn, corpus, tmp_path):
    """Trains into the folder of that name under tmp_path."""

    def run(name, *arguments, **more):
        return attn("train", corpus, "--out", tmp_path / name, *SMALL, *arguments, **more)

    return run


@pytest.fixture
def interrupt(monkeypatch):
    """From now on the loop ends with this after so many steps, as a signal would end it."""
    whole = loop.train

    def after(steps, what):
        def broken(run):
            for record in whole(run):
                yield record
                if record.step == steps:
                    raise what

        monkeypatch.setattr(loop, "train", broken)
        return lambda: monkeypatch.setattr(loop, "train", whole)

    return after


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_run_leaves_a_checkpoint_that_the_other_commands_open(attn, train, tmp_path):
    result = train("new/model", "--steps", 4)
    assert "step 4 of 4   loss" in result.said
    assert ": 4 steps in 0:0" in " ".join(result.text.split())
    assert list(contents(tmp_path / "new" / "model")) == FILES
    found = attn("trace", "the cat sees", "-m", tmp_path / "new" / "model", "--json").json
    assert (found["model"]["model_width"], found["model"]["heads"]) == (8, 2)
    assert [token["text"] for token in found["prompt"]["tokens"]] == ["the", "cat", "sees"]


def test_the_same_seed_gives_the_same_checkpoint_and_another_another(train, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        train(name, "--steps", 3, "--seed", seed, "--quiet")
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]


def test_the_document_holds_every_loss_and_goes_down(train):
    result = train("m", "--steps", 30, "--json", "--quiet")
    assert result.said == ""
    found = result.json["result"]
    assert (found["steps"], found["finished"], len(found["losses"])) == (30, True, 30)
    assert found["losses"][-1] < found["losses"][0] - 0.5
    assert all(loss > 0 for loss in found["losses"])
    assert found["loss"] == pytest.approx(sum(found["losses"]) / 30, rel=1e-5)
    assert result.json["settings"]["seed"] == 0


def test_what_is_watched_is_shown(train):
    page = train(
        "m", "--steps", 3, "--watch", "dog", "--watch-prompt", "the cat", "--watch-key", "cat"
    ).text
    assert "how much the last token of `the cat` looks at `cat`" in page
    assert re.search(r"`dog` has moved 0\.\d+ from its random start", page)


@pytest.mark.parametrize(
    ("what", "code"), [(KeyboardInterrupt(), 130), (Terminated(), 143)], ids=["INT", "TERM"]
)
def test_an_interrupted_run_is_saved_and_resumed_byte_for_byte(
    train, tmp_path, interrupt, what, code
):
    train("whole", "--steps", 9)
    mend = interrupt(4, what)
    result = train("parts", "--steps", 9)
    assert result.code == code
    assert "saved after step 4; go on with: attn train" in result.said
    assert result.said.rstrip().endswith("--resume")
    saved = contents(tmp_path / "parts")
    assert {"training.json", "training.safetensors", *FILES} == set(saved)
    mend()
    refused = train("parts", "--steps", 9)
    assert (refused.code, contents(tmp_path / "parts")) == (2, saved)
    assert "hint: --resume goes on with it" in refused.said
    assert train("parts", "--resume").code == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_running_out_of_memory_keeps_what_was_learnt(train, tmp_path, interrupt):
    train("whole", "--steps", 9)
    mend = interrupt(4, MemoryError())
    result = train("parts", "--steps", 9)
    assert result.code == 1
    assert "saved after step 4; go on with: attn train" in result.said
    assert "attn: not enough memory for step 5: this run was said to take" in result.said
    assert "--context" in result.said
    assert "prompt" not in result.said
    mend()
    assert train("parts", "--resume").code == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_divergence_keeps_the_last_state_that_gave_a_loss(attn, train, tmp_path, interrupt):
    train("whole", "--steps", 3)
    interrupt(4, UsageError("training diverged at step 5", "use a smaller learning rate"))
    result = train("m", "--steps", 9)
    assert result.code == 2
    assert f"note: the model after step 3 is saved in {tmp_path / 'm'}" in result.said
    assert "hint: use a smaller learning rate" in result.said
    assert attn("models", tmp_path / "m").code == 0


def test_an_interrupt_before_the_first_step_has_nothing_to_save(train, tmp_path, monkeypatch):
    def broken(run):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(loop, "train", broken)
    assert (train("m").code, (tmp_path / "m").exists()) == (130, False)
    (tmp_path / "mine").mkdir()
    assert (train("mine").code, list((tmp_path / "mine").iterdir())) == (130, [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--context", 65536), ("of 65,536 tokens", "what fits: --context ")),
        (("--width", 4096, "--layers", 96), ("GiB for parameters", "what fits: --width ")),
    ],
)
def test_a_step_above_the_memory_is_refused_with_what_it_needs(
    train, tmp_path, monkeypatch, arguments, words
):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 20}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    refused = train("m", *arguments)
    assert (refused.code, (tmp_path / "m").exists()) == (1, False)
    assert "2.0 GiB may be used" in refused.said
    assert all(word in refused.said for word in words), refused.said


def test_what_a_training_may_take_is_typed(train, tmp_path):
    of_words = train("m", "--max-memory", "1KiB")
    assert of_words.code == 1 and " words takes " in of_words.said
    of_step = train("m", "--max-memory", "32MiB", "--heads", 2, "--width", 512, "--steps", 1)
    assert "a step takes" in of_step.said and "32.0 MiB may be used" in of_step.said
    found = re.search(r"what fits: .*--width (\d+)", of_step.said)
    smaller = train("m", "--max-memory", "32MiB", "--heads", 2, "--width", found[1], "--steps", 1)
    assert (smaller.code, (tmp_path / "m" / "config.json").exists()) == (0, True)


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_a_terminal_without_colour_gets_lines(train, plain):
    result = train("m", "--steps", 3, terminal=True, env=plain)
    assert result.said.startswith("step 3 of 3   loss")
    assert b"\x1b" not in result.err + result.out


def test_resuming_with_another_setting_or_corpus_is_refused(train, corpus, tmp_path, interrupt):
    mend = interrupt(2, KeyboardInterrupt())
    train("m", "--steps", 5)
    mend()
    saved = contents(tmp_path / "m")
    other = train("m", "--resume", "--seed", 3)
    assert (other.code, "has seed 0, not 3" in other.said) == (2, True)
    corpus.write_text(LINES + "a cat sees\n")
    assert "has another corpus" in train("m", "--resume").said
    assert contents(tmp_path / "m") == saved


@pytest.mark.slow
def test_ctrl_c_saves_and_exits_130(started, attn, corpus, tmp_path):
    child = started("train", corpus, "--out", tmp_path / "m", *SMALL, "--steps", 100_000)
    assert b"step 100 of 100000" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (130, b"")
    step = int(re.search(rb"note: saved after step (\d+); go on with: ", err)[1])
    assert step >= 100
    assert b"Traceback" not in err
    assert list(contents(tmp_path / "m")) == sorted(
        [*FILES, "training.json", "training.safetensors"]
    )
    assert attn("models", tmp_path / "m").code == 0


# --- other objectives ----------------------------------------------------------------------------


def test_an_encoder_is_trained_and_fills_masks(attn, train, tmp_path):
    watched = ("--watch-prompt", "the cat [MASK] the dog", "--watch-query", "cat",
               "--watch-key", "dog", "--watch", "dog")  # fmt: skip
    page = train("m", "--objective", "masked", "--steps", 6, *watched).text
    flat = " ".join(page.split())
    assert "how much `cat` in `the cat [MASK] the dog` looks at `dog`, most first" in flat
    assert "given to a token that was chosen" in flat and "Without the mask" not in flat
    opened = attn("trace", "the cat [MASK] the dog", "-m", tmp_path / "m", "--json",
                  "-l", "all", "-H", "all").json  # fmt: skip
    assert (opened["model"]["family"], len(opened["next"])) == ("bert", 1)
    assert opened["next"][0]["position"] == 3
    for block in opened["attention"]:
        shares = [f"{head[2][5]:.2f}" for head in block["arrays"]["weights"]["values"]]
        row = re.search(rf"layer {block['layer']}  (.*)", page)[1]
        assert re.findall(r"\d\.\d\d", row) == shares == sorted(shares, reverse=True)


def test_an_encoder_is_gone_on_with_by_itself(train, tmp_path, interrupt):
    masked = ("--objective", "masked", "--masking-rate", 0.3)
    train("whole", "--steps", 9, *masked)
    mend = interrupt(4, KeyboardInterrupt())
    train("parts", "--steps", 9, *masked)
    mend()
    assert (
        "has objective masked, not next" in train("parts", "--resume", "--objective", "next").said
    )
    assert train("parts", "--resume").code == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


# --- refused, before a step is made --------------------------------------------------------------


def test_a_folder_with_a_model_is_left_alone(train, tmp_path):
    train("m", "--steps", 2)
    before = contents(tmp_path / "m")
    for more in ((), ("--seed", 1)):
        refused = train("m", "--steps", 2, *more)
        assert refused.code == 2
        assert "already holds a model" in refused.said
    assert contents(tmp_path / "m") == before


@pytest.mark.parametrize("name", [*FILES, "training.safetensors"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_folder_with_any_file_of_a_model_is_left_alone(train, tmp_path, name, dangling):
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / name
    path.symlink_to("elsewhere") if dangling else path.write_text("mine")
    refused = train("m", "--steps", 2)
    assert (refused.code, "already holds" in refused.said) == (2, True)
    assert os.listdir(tmp_path / "m") == [name]
    assert dangling or path.read_text() == "mine"


@pytest.mark.parametrize("place", ["corpus.txt", "corpus.txt/m", "loop/m"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_first_step(train, tmp_path, place):
    (tmp_path / "loop").symlink_to("loop")
    refused = train(place, "--steps", 100)
    assert refused.code in (1, 2)
    assert "step" not in refused.said
    assert (tmp_path / "corpus.txt").read_text() == LINES


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--resume",), 1, "holds no unfinished training"),
        (("--heads", 3, "--width", 8), 2, "width 8 does not divide by heads 3"),
        (("--watch", "zebra"), 2, "the corpus has no 'zebra'"),
        (("--watch-prompt", "the cat", "--watch-key", "dog"), 2, "has no token 'dog'"),
        (("--watch-prompt", "the cat " * 20, "--watch-key", "cat"), 2, "40 tokens, the context"),
        (("--learning-rate", "0"), 2, "must be above 0"),
        (("--learning-rate", "1e300", "--steps", 5), 2, "the loss is no longer a number"),
        (("--format", "csv"), 2, "attn train cannot write csv"),
        (("--objective", "guess"), 2, "--objective 'guess' is unknown"),
        (("--objective", "masked", "--mask", "none"), 2, "--mask has no effect with --objective"),
        (("--masking-rate", "0.2"), 2, "--masking-rate has no effect with --objective next"),
        (("--objective", "masked", "--masking-rate", "0"), 2, "--masking-rate 0 is out of range"),
        (("--objective", "masked", "--context", "6"), 2, "takes 7 tokens, the context is 6"),
    ],
)
def test_what_cannot_be_trained_is_refused(train, tmp_path, arguments, code, message):
    refused = train("m", *arguments)
    assert (refused.code, message in refused.said) == (code, True), refused.said
    assert not (tmp_path / "m" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"", "the corpus is empty"), (b" \n\n", "the corpus is empty"), (b"ab\xff", "offset 2")],
)
def test_a_corpus_that_is_none_is_refused(train, corpus, text, message):
    corpus.write_bytes(text)
    refused = train("m", "--steps", 1)
    assert (refused.code, message in refused.said) == (1, True), refused.said


def test_an_empty_out_is_not_the_current_folder(attn, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert attn("train", corpus, "--out", "", *SMALL, "--steps", 1).code == 2
    assert list(tmp_path.iterdir()) == [corpus]


def test_a_run_without_the_mask_says_how_to_see_what_it_writes(attn, train, tmp_path):
    page = " ".join(train("m", "--steps", 3, "--mask", "none").text.split())
    assert "Without the mask each position can read the token it should predict" in page
    again = shlex.split(page.partition("See: attn ")[2])
    assert again == ["sample", "the cat", "--model", str(tmp_path / "m"), "--max-tokens", "12",
                     "--temperature", "0"]  # fmt: skip
    assert attn(*again).code == 0
    assert "Without the mask" not in train("honest", "--steps", 3).text
    assert train("x", "--mask", "window:2").code == 2
    assert attn("train", "--help").text.count("--mask MASK") == 1


def test_an_unfinished_run_goes_on_with_its_mask(train, tmp_path, interrupt):
    mend = interrupt(2, KeyboardInterrupt())
    train("m", "--steps", 4, "--mask", "none")
    mend()
    assert "has mask none, not causal" in train("m", "--resume", "--mask", "causal").said
    assert train("m", "--resume", "--json").json["settings"]["mask"] == "none"


def test_the_end_says_which_mean_the_loss_is_and_what_floor_and_nats_are(train):
    watched = ("--watch-prompt", "the cat", "--watch-key", "cat", "--watch", "dog")
    page = " ".join(train("m", "--steps", 5, *watched).text.split())
    assert "nats per token (the mean of the last 5 steps)" in page
    assert "the mean of up to 50 steps" in page
    assert "A loss is −ln p" in page and "The floor is the loss of a model that" in page


def test_the_screen_numbers_the_heads_as_the_file_does(attn, train, tmp_path):
    watched = ("--watch-prompt", "the cat sees", "--watch-key", "cat", "--watch", "dog")
    page = train("m", "--steps", 5, *watched).text
    blocks = attn("trace", "the cat sees", "-m", tmp_path / "m", "-l", "all", "-H", "all", "--json")
    for block in blocks.json["attention"]:
        shares = [f"{head[-1][1]:.2f}" for head in block["arrays"]["weights"]["values"]]
        row = re.search(rf"layer {block['layer']}  (.*)", page)[1]
        assert re.findall(r"\d\.\d\d", row) == shares == sorted(shares, reverse=True)
