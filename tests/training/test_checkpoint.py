"""Saved folders: ordinary when finished, resumable bit for bit while not, refused when unfit."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest

from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.training import checkpoint, decoder, folder, layers, loop, next_token
from attn_cli.training.objectives import OBJECTIVES
from measure import logits_of


def logits(parameters, ids, *, heads):
    return decoder.forward(parameters, ids, heads=heads).normed @ parameters["wte.weight"].T


def run_until(run, step):
    for record in loop.train(run):
        if record.step == step:
            return run
    return run


@pytest.fixture
def stopped(tmp_path, corpus, settings):
    """A folder with the state after step 5 of 12."""
    checkpoint.save(tmp_path, run_until(loop.start(settings, corpus), 5))
    return tmp_path


def files(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_finished_folder_is_an_ordinary_gpt2(tmp_path, corpus, settings):
    run = run_until(loop.start(settings, corpus), 12)
    checkpoint.save(tmp_path / "new" / "folder", run)
    written = files(tmp_path / "new" / "folder")
    assert list(written) == ["config.json", "model.safetensors", "tokenizer.json"]
    config = json.loads(written["config.json"])
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert config["n_inner"] is None
    assert config["eos_token_id"] == corpus.end
    assert json.loads(written["tokenizer.json"]) == corpus.contents
    tensors = open_safetensors(tmp_path / "new" / "folder" / "model.safetensors")
    assert set(tensors) == {f"transformer.{name}" for name in run.state.parameters}


def test_the_package_reads_the_folder_and_computes_the_same_logits(tmp_path, corpus, settings):
    session = pytest.importorskip("attn_cli.session")
    run = run_until(loop.start(settings, corpus), 12)
    checkpoint.save(tmp_path, run)
    opened = session.load(str(tmp_path))
    prompt = session.tokenise(opened, "the cat sees the")
    expected = logits(run.state.parameters, np.array([prompt.ids]), heads=2)[0]
    np.testing.assert_allclose(logits_of(opened, prompt.ids), expected, atol=1e-5)


def test_same_seed_same_bytes(tmp_path, corpus, settings):
    for name in "ab":
        checkpoint.save(tmp_path / name, run_until(loop.start(settings, corpus), 12))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_resumed_equals_uninterrupted(tmp_path, stopped, corpus, settings):
    assert checkpoint.unfinished(stopped)
    assert checkpoint.saved_settings(stopped) == settings
    state = checkpoint.resume(stopped, settings, corpus)
    assert state.step == 5
    resumed = run_until(loop.start(settings, corpus, state), 9)
    checkpoint.save(stopped, resumed)
    again = loop.start(settings, corpus, checkpoint.resume(stopped, settings, corpus))
    checkpoint.save(stopped, run_until(again, 12))
    checkpoint.save(tmp_path / "whole", run_until(loop.start(settings, corpus), 12))
    (tmp_path / "resumed").mkdir()
    for path in list(tmp_path.glob("*.*")):
        path.rename(tmp_path / "resumed" / path.name)
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")
    assert not checkpoint.unfinished(tmp_path / "resumed")


def test_saving_before_the_first_step(tmp_path, corpus, settings):
    checkpoint.save(tmp_path, loop.start(settings, corpus))
    assert checkpoint.resume(tmp_path, settings, corpus).step == 0


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 13), ("seed", 1), ("weight_decay", 0.0), ("watched_word", "cat")]
)
def test_other_settings_are_refused_by_name(stopped, corpus, settings, name, value):
    with pytest.raises(UsageError, match=rf"has {name} .*, not {value}"):
        checkpoint.resume(stopped, replace(settings, **{name: value}), corpus)


def test_another_corpus_is_refused(stopped, settings):
    other = next_token.read_corpus("the cat sees the dog\na mouse runs\n")
    with pytest.raises(UsageError, match="another corpus"):
        checkpoint.resume(stopped, settings, other)


def test_no_unfinished_training(tmp_path, corpus, settings):
    with pytest.raises(ContentError, match="no unfinished training"):
        checkpoint.resume(tmp_path, settings, corpus)


@pytest.mark.parametrize("name", ["training.json", "training.safetensors"])
@pytest.mark.parametrize("damage", ["remove", "cut", "empty", "other"])
def test_missing_or_corrupt_state(stopped, corpus, settings, name, damage):
    path = stopped / name
    content = path.read_bytes()
    path.unlink()
    if damage != "remove":
        new = {"cut": content[: len(content) // 2], "empty": b"", "other": b"{}      "}
        path.write_bytes(new[damage])
    with pytest.raises(ContentError):
        checkpoint.resume(stopped, settings, corpus)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": "2"}, {"layers": True}, {"heads": 3}, {"seed": None}, {"more": 1},
        {"objective": "guess"},
    ],
)  # fmt: skip
def test_settings_that_are_none_are_refused(stopped, corpus, settings, change):
    path = stopped / "training.json"
    saved = json.loads(path.read_text())
    saved["settings"] |= change
    path.write_text(json.dumps(saved))
    with pytest.raises(ContentError):
        checkpoint.resume(stopped, settings, corpus)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("step", np.array(13, np.float32)),
        ("step", np.array(1.5, np.float32)),
        ("step", np.array(-1, np.float32)),
        ("step", np.array(np.nan, np.float32)),
        ("first.wte.weight", np.zeros((2, 2), np.float32)),
        ("first.wte.weight", None),
        ("more", np.zeros(1, np.float32)),
    ],
)
def test_a_state_of_other_tensors_is_refused(stopped, corpus, settings, name, array):
    path = stopped / "training.safetensors"
    state = open_safetensors(path)
    tensors = {key: np.array(state[key].read()) for key in state} | {name: array}
    if array is None:
        del tensors[name]
    path.write_bytes(encode(tensors, {}))
    with pytest.raises(ContentError):
        checkpoint.resume(stopped, settings, corpus)


def test_another_runs_settings_never_meet_this_runs_state(stopped, corpus, settings, monkeypatch):
    other = run_until(loop.start(replace(settings, seed=1), corpus), 2)
    before, real = files(stopped), folder.write_bytes

    def fail_on_settings(path, content, **more):
        if path.name == "training.json":
            raise ContentError("the disk is full")
        real(path, content, **more)

    monkeypatch.setattr(folder, "write_bytes", fail_on_settings)
    with pytest.raises(ContentError, match="disk is full"):
        checkpoint.save(stopped, other)
    assert files(stopped) == before
    assert checkpoint.resume(stopped, settings, corpus).step == 5


def changed(stopped, name, change):
    """The state of a folder with something done to the values of one array."""
    path = stopped / "training.safetensors"
    state = open_safetensors(path)
    tensors = {key: np.array(state[key].read()) for key in state}
    change(tensors[name].reshape(-1))
    path.write_bytes(encode(tensors, {}))


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "not finite: 1"), (np.inf, "not finite"), (-1.0, "its checksum differs")],
)
@pytest.mark.parametrize("name", ["parameter.wte.weight", "second.wte.weight"])
def test_a_damaged_array_is_named_with_its_file(stopped, corpus, settings, name, value, words):
    changed(stopped, name, lambda values: values.__setitem__(3, value))
    with pytest.raises(ContentError) as refused:
        checkpoint.resume(stopped, settings, corpus)
    said = refused.value.message
    assert f"{stopped / 'training.safetensors'}: the array {name}" in said and words in said
    assert "learning rate" not in said + refused.value.hint


def test_no_flipped_bit_of_a_saved_training_goes_unseen(stopped, settings, corpus):
    path = stopped / "training.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 7
        path.write_bytes(damaged)
        try:
            checkpoint.resume(stopped, settings, corpus)
        except (ContentError, UsageError):
            continue
        assert json.loads(damaged) == json.loads(whole)  # a blank between two keys


def test_half_a_character_in_the_settings_is_no_text_that_was_saved(stopped, settings, corpus):
    path = stopped / "training.json"
    saved = json.loads(path.read_text())
    saved["settings"]["watched_prompt"] = "\ud800"
    path.write_text(json.dumps(saved))
    with pytest.raises(ContentError, match="is damaged: its checksum"):
        checkpoint.resume(stopped, settings, corpus)


def test_a_link_in_the_place_of_an_unfinished_save_is_not_followed(stopped, tmp_path_factory):
    mine = tmp_path_factory.mktemp("mine")
    (mine / "config.json").write_text("mine")
    for name in (".attn-saving", ".attn-saved"):
        (stopped / name).symlink_to(mine)
        with pytest.raises(ContentError, match="not a directory"):
            folder.recover(stopped)
        (stopped / name).unlink()
    assert (mine / "config.json").read_text() == "mine"


def test_a_parameter_that_is_no_number_is_not_a_finished_model(corpus, settings):
    run = loop.start(replace(settings, peak_learning_rate=1e300, steps=1), corpus)
    with pytest.raises(UsageError, match="step 1: a parameter is no longer a number"):
        list(loop.train(run))
    assert (run.finished, loop.is_sound(run.state)) == (False, True)


def test_what_is_interrupted_while_it_diverges_is_saved_as_it_was(tmp_path, corpus, settings):
    run = run_until(loop.start(settings, corpus), 4)
    good = run.state
    spoilt = {name: array + np.inf for name, array in good.parameters.items()}
    run.before, run.state = good, good._replace(step=5, parameters=spoilt)
    assert checkpoint.rescue(tmp_path, run, KeyboardInterrupt()) is True
    assert checkpoint.resume(tmp_path, settings, corpus).step == 4


def test_a_second_training_into_a_folder_is_refused(tmp_path):
    with folder.claimed(tmp_path / "m") as alone, pytest.raises(ContentError, match="another"):
        assert alone
        with folder.claimed(tmp_path / "m"):
            pass
    assert not (tmp_path / "m").exists()


def test_a_folder_that_knows_no_locks_is_trained_in_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, "")

    monkeypatch.setattr("fcntl.flock", refuse)
    with folder.claimed(tmp_path) as alone:
        assert not alone


def test_a_folder_that_cannot_be_made(tmp_path, corpus, settings):
    (tmp_path / "file").write_text("")
    with pytest.raises(ContentError, match="cannot make the folder"):
        checkpoint.save(tmp_path / "file", loop.start(settings, corpus))


def test_the_permutation_sorts_the_heads_and_leaves_the_logits(corpus, settings):
    rng = np.random.default_rng(0)
    shape = layers.Shape(vocabulary=corpus.tokenizer.size, context=32, width=12, heads=4, layers=3)
    parameters = {
        name: array.astype(np.float64) + rng.standard_normal(array.shape)
        for name, array in decoder.initial(shape, rng).items()
    }
    own = replace(settings, heads=4)
    watched = OBJECTIVES["next"].watch(corpus, own)
    attention = OBJECTIVES["next"].attention
    before = attention(parameters, watched, own)
    ordered = layers.order_heads(parameters, before, 4)
    assert not np.array_equal(
        ordered["h.1.attn.c_attn.weight"], parameters["h.1.attn.c_attn.weight"]
    )
    ids = rng.integers(0, shape.vocabulary, (2, 9))
    expected = logits(parameters, ids, heads=4)
    np.testing.assert_allclose(logits(ordered, ids, heads=4), expected, rtol=1e-9, atol=1e-9)
    after = attention(ordered, watched, own)
    np.testing.assert_allclose(after, -np.sort(-before, axis=1), rtol=1e-9)
    assert (after.argmax(axis=1) == 0).all()


def test_without_a_watched_prompt_no_head_moves(corpus):
    shape = layers.Shape(vocabulary=20, context=32, width=12, heads=4, layers=1)
    parameters = decoder.initial(shape, np.random.default_rng(0))
    ordered = layers.order_heads(parameters, np.zeros((0, 0)), 4)
    assert all(ordered[name] is parameters[name] for name in parameters)


@pytest.mark.parametrize("name", ["width", "layers", "context"])
def test_settings_of_another_size_make_no_such_model(stopped, corpus, monkeypatch, name):
    path = stopped / "training.json"
    saved = json.loads(path.read_text())
    most = {"width": 12288, "layers": 96, "context": 4096}[name]
    saved["settings"][name] = most
    del saved["sha256"]
    path.write_text(json.dumps(saved | {"sha256": checkpoint._sha256(saved)}))
    monkeypatch.setattr(checkpoint, "initial_state", lambda *_: pytest.fail("made"))
    with pytest.raises(ContentError, match="does not hold this training's tensors"):
        checkpoint.resume(stopped, checkpoint.saved_settings(stopped), corpus)


@pytest.mark.parametrize("name", ["layers", "objective"])
def test_a_long_value_of_a_setting_is_shortened(stopped, name):
    path = stopped / "training.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"settings": saved["settings"] | {name: "x" * 10**5}}))
    with pytest.raises(ContentError) as refused:
        checkpoint.saved_settings(stopped)
    assert len(refused.value.message) < 400
