"""Files are the old ones or the new ones, whatever call fails, and whenever a run is ended."""

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from failing import CALLS, CLEANING, Runs

pytestmark = pytest.mark.faults
ERRORS = {
    "full": errno.ENOSPC, "quota": errno.EDQUOT, "broken": errno.EIO, "read-only": errno.EROFS,
    "device": errno.EXDEV, "large": errno.EFBIG,
}  # fmt: skip
SIGNALS = {
    "INT": [signal.SIGINT], "TERM": [signal.SIGTERM], "HUP": [signal.SIGHUP],
    "INT twice": [signal.SIGINT, signal.SIGINT], "both": [signal.SIGTERM, signal.SIGINT],
}  # fmt: skip
PYTHON = ("Traceback", "Errno", "Exception", "fault in attn")
FORMATS = ("json", "npz", "svg", "html")
STEPS = 2
LINES = "the cat sees the dog\nthe dog sees the cat\na mouse runs\na cat runs\n" * 2


@pytest.fixture(scope="module")
def attn():
    runs = Runs()
    yield runs
    runs.close()


@pytest.fixture
def tmp_path():
    """In memory where there is such a place: thousands of flushes would wait for a disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def until_done(most=200):
    """Calls are counted from the first until a run has fewer."""
    return range(1, most)


def sound(ended):
    assert not any(word in ended.err for word in PYTHON), ended
    assert len(ended.err.splitlines()) <= 4, ended
    return ended


@pytest.mark.parametrize("fails", ERRORS)
@pytest.mark.parametrize("old", ["old", None])
def test_any_call_that_fails_leaves_the_old_file(attn, tmp_path, fails, old):
    path = tmp_path / "x.json"
    for number in until_done():
        path.unlink(missing_ok=True)
        if old:
            path.write_text(old)
            path.chmod(0o640)
        ended = sound(attn("trace", "the king", "--out", path, call=number, how=ERRORS[fails]))
        if ended.code == 0:  # what failed came when the file was whole and in its place
            assert path.read_bytes().endswith(b"}\n")
        else:
            assert (ended.code, ended.out) == (1, "")
            assert f"cannot write {path}: " in ended.err and "\nhint: nothing was" in ended.err
            assert (path.read_text() if path.exists() else None) == old
        assert os.listdir(tmp_path) == ([path.name] if path.exists() else [])
        if not ended.came:
            break
    assert not ended.came and number > 4


@pytest.mark.parametrize("which", SIGNALS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_signal_at_any_call_leaves_no_part_of_a_file(attn, tmp_path, which, form):
    path = tmp_path / f"x.{form}"
    for number in until_done():
        path.write_text("old")
        ended = sound(
            attn("trace", "the king", "--out", path, call=number, how=SIGNALS[which],
                 calls=(*CALLS, *CLEANING))
        )  # fmt: skip
        assert os.listdir(tmp_path) == [path.name]
        assert path.stat().st_size != 3 or path.read_text() == "old"
        if not ended.came:
            break
        assert ended.code in {128 + n for n in SIGNALS[which]}, ended
    assert ended.code == 0 and number > 4


def test_a_kill_at_any_call_leaves_a_whole_file(attn, tmp_path):
    path = tmp_path / "x.json"
    whole = attn("trace", "the king", "--json").out
    for number in until_done():
        path.write_text("old")
        ended = attn("trace", "the king", "--out", path, call=number, how="kill")
        assert path.read_text() in ("old", whole)
        if not ended.came:
            break
    assert ended.code == 0


def test_a_file_system_that_flushes_nothing_is_written_to(attn, tmp_path):
    path = tmp_path / "x.json"
    ended = attn("trace", "the", "--out", path, call=1, how=errno.EINVAL, calls=["fsync"])
    assert (ended.code, ended.came, path.exists()) == (0, True, True)


# --- training ------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(LINES)
    return path


@pytest.fixture
def train(attn, corpus, tmp_path):
    def run(name, *more, **how):
        shape = ("--width", 8, "--heads", 2, "--context", 16, "--layers", 1)
        return attn("train", corpus, "--out", tmp_path / name, *shape, *more, "--quiet", **how)

    return run


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())} if folder.exists() else {}


def is_one_save(held, save):
    """All files of a folder are those of a save."""
    assert held == save, (held.keys(), save.keys())


@pytest.fixture
def whole(train, tmp_path):
    assert train("whole", "--steps", STEPS).code == 0
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("fails", ["full"])
def test_a_finished_training_is_saved_or_undone(train, tmp_path, whole, fails):
    for number in until_done():
        folder = tmp_path / f"m{number}"
        ended = sound(train(folder.name, "--steps", STEPS, call=number, how=ERRORS[fails]))
        if ended.code:
            assert (ended.code, ended.out) == (1, "")
            # What counts already is put in its place by the next run.
            again = train(folder.name, "--steps", STEPS)
            assert again.code == 0 or "already holds a model" in again.err
        is_one_save(contents(folder), whole)
        if not ended.came:
            break
    assert ended.code == 0 and number > 20


def test_a_kill_at_any_call_of_a_save_leaves_one_save(train, tmp_path, whole):
    for number in until_done():
        folder = tmp_path / f"m{number}"
        ended = train(folder.name, "--steps", STEPS, call=number, how="kill")
        if ended.came:
            again = train(folder.name, "--steps", STEPS)
            assert again.code == 0 or "already holds a model" in again.err, again
        is_one_save(contents(folder), whole)
        if not ended.came:
            break
    assert number > 20


@pytest.mark.parametrize("which", ["INT twice", "HUP"])
def test_a_signal_at_any_call_of_a_save_is_after_it(train, tmp_path, whole, which):
    told = 0
    for number in until_done():
        folder = tmp_path / f"m{number}"
        ended = sound(train(folder.name, "--steps", STEPS, call=number, how=SIGNALS[which],
                            calls=(*CALLS, *CLEANING)))  # fmt: skip
        if not ended.came:
            break
        assert ended.code in {128 + n for n in SIGNALS[which]}, ended
        if contents(folder):
            is_one_save(contents(folder), whole)
        told += f"the model after step {STEPS} is saved in" in ended.err
    assert ended.code == 0 and told > 20


@pytest.mark.parametrize("how", ["kill", errno.EIO])
def test_a_second_save_that_is_stopped_leaves_the_first_or_the_second(
    attn, train, tmp_path, whole, how, unfinished
):
    """The second save takes the training's state away, and the model is another one."""
    for number in until_done():
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        for name, data in unfinished.items():
            (folder / name).write_bytes(data)
        ended = train(folder.name, "--resume", call=number, how=how)
        if not ended.came:
            break
        if ended.code:
            visible = {n: d for n, d in contents_of_files(folder).items() if n[0] != "."}
            assert visible["model.safetensors"] in (
                whole["model.safetensors"], unfinished["model.safetensors"]
            )  # fmt: skip
            assert attn("trace", "the cat", "-m", folder, "--json").code == 0
            again = train(folder.name, "--resume")
            assert again.code == 0 or "no unfinished training" in again.err, again
        is_one_save(contents(folder), whole)
    assert ended.code == 0 and number > 20


def contents_of_files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """The files of the same training after its first step."""
    from attn_cli.training import checkpoint, loop, next_token

    corpus = next_token.read_corpus(LINES)
    given = {"steps": STEPS, "width": 8, "heads": 2, "context": 16, "layers": 1}
    run = loop.start(loop.settings_for(corpus, given), corpus)
    for record in loop.train(run):
        if record.step == 1:
            break
    folder = tmp_path_factory.mktemp("unfinished")
    checkpoint.save(folder, run)
    return contents(folder)


@pytest.mark.parametrize("which", ["both"])
def test_a_resumed_training_that_is_signalled_loses_nothing(
    train, tmp_path, whole, which, unfinished
):
    for number in until_done():
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        for name, data in unfinished.items():
            (folder / name).write_bytes(data)
        ended = sound(train(folder.name, "--resume", call=number, how=SIGNALS[which]))
        if not ended.came:
            break
        if contents(folder) != whole:
            assert contents(folder) == unfinished
            assert train(folder.name, "--resume").code == 0
        is_one_save(contents(folder), whole)
    assert number > 20


def test_modes_and_owners_stay(attn, tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    path.chmod(0o604)
    if os.getuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    assert attn("trace", "the", "--out", path).code == 0
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o604
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


# --- real processes ------------------------------------------------------------------------------


def _default_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def begin(corpus, tmp_path):
    """Starts a long training as a process of its own, and waits until it is under way."""
    children = []

    def start(name):
        shape = ("--width", "8", "--heads", "2", "--context", "16", "--steps", "100000")
        child = subprocess.Popen(
            [sys.executable, "-m", "attn_cli", "train", corpus, "--out", tmp_path / name, *shape],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            **{"preexec_fn": _default_signals},
        )  # fmt: skip
        children.append(child)
        assert b"step 100 of" in child.stderr.readline()
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_training_that_is_ended_is_saved(begin, tmp_path, number):
    child = begin("m")
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (128 + number, b"")
    assert b"note: saved after step " in err and b"Traceback" not in err
    assert sorted(os.listdir(tmp_path / "m")) == [
        "config.json", "model.safetensors", "tokenizer.json", "training.json",
        "training.safetensors",
    ]  # fmt: skip


def test_a_second_training_into_a_folder_is_refused_while_the_first_runs(begin, train, tmp_path):
    child = begin("m")
    (tmp_path / "link").symlink_to("m")
    for name, more in (("m", ()), ("link", ()), ("m", ("--resume",))):
        ended = train(name, "--steps", 2, *more)
        assert (ended.code, ended.out) == (1, "")
        assert "another training is under way in" in ended.err and "\nhint: " in ended.err
    child.kill()
    child.wait()
    assert contents(tmp_path / "m") == {}
    assert train("m", "--steps", 2).code == 0  # the lock went with its process
    refused = train("m", "--steps", 2)
    assert (refused.code, "already holds a model" in refused.err) == (2, True)


def test_a_new_document_goes_to_the_end_of_what_stdout_has(attn, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"kept\n")
    for name in ("/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"):
        with log.open("ab") as end:
            done = subprocess.run(
                [sys.executable, "-m", "attn_cli", "trace", "the", "--json", "--out", name],
                stdout=end, stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
    assert log.read_text() == "kept\n" + 3 * attn("trace", "the", "--json").out


@pytest.mark.parametrize("form", [*FORMATS, "table", "ndjson"])
@pytest.mark.parametrize("out", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_a_closed_or_full_stdout_is_an_error_in_each_format(form, out):
    command = [sys.executable, "-m", "attn_cli", "trace", "the", "--format", form, "--out", out]
    with open("/dev/full", "wb") as full:
        for more in ({"preexec_fn": lambda: os.close(1)}, {"stdout": full}):
            done = subprocess.run(command, stderr=subprocess.PIPE, check=False, **more)
            assert done.returncode == 1, done
            assert done.stderr.startswith(b"attn: cannot write to standard output: ")
