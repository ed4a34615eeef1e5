"""Writing files: what the operating system refuses is said, and the old file stays as it was."""

import errno
import os
import select
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest

from attn_cli import files, signals
from attn_cli.errors import ContentError, Terminated
from attn_cli.writing import handle_named, write_bytes, writing


def test_a_file_that_may_not_be_written_is_kept(tmp_path, monkeypatch):
    """Renaming asks for the folder's permission only; the file's own is asked for first."""
    path, asked = tmp_path / "kept.json", []
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *given: asked.append(given))  # root may do anything
    with pytest.raises(ContentError, match="permission denied") as refused:
        write_bytes(path, b"new")
    assert str(path) in refused.value.message
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept.json"]
    assert asked == [(path, os.W_OK)]


def test_a_file_that_is_not_there_yet_asks_for_no_permission_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *given: False)
    write_bytes(tmp_path / "new.json", b"new")
    assert (tmp_path / "new.json").read_bytes() == b"new"


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_signal_just_before_a_wait_ends_it(pipe, monkeypatch):
    """As one does that comes between Python's last look for signals and the system call."""
    read, write = pipe
    select_, came = select.select, []
    former = signal.signal(signal.SIGUSR1, lambda *_: came.append("signal"))
    late = threading.Timer(5, lambda: os.write(write, b"."))  # ends a wait that goes on

    def select_late(*given):
        signal.raise_signal(signal.SIGUSR1)
        return select_(*given)

    monkeypatch.setattr(files.select, "select", select_late)
    late.start()
    try:
        assert (files.wait(read), came) == (False, ["signal"])
    finally:
        late.cancel()
        signal.signal(signal.SIGUSR1, former)
    assert signal.set_wakeup_fd(-1) == -1


def test_waits_in_any_thread(pipe):
    read, write = pipe
    found = []
    thread = threading.Thread(target=lambda: found.append(files.wait(read, seconds=0.01)))
    thread.start()
    thread.join()
    os.write(write, b".")
    assert (found, files.wait(read), files.wait(write, to_write=True)) == ([False], True, True)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "a\nb\x1b[31m", "\udcff.json", "-", ".x"])
def test_any_name_that_a_file_can_have_can_be_written(tmp_path, name):
    write_bytes(tmp_path / name, b"one")
    write_bytes(tmp_path / name, b"two")
    assert (os.listdir(tmp_path), (tmp_path / name).read_bytes()) == ([name], b"two")


def test_a_temporary_name_that_is_taken_is_left_alone(tmp_path, monkeypatch):
    names = [b"\0" * 6, b"\1" * 6]
    (tmp_path / f".x.{names[0].hex()}").write_bytes(b"of another")
    monkeypatch.setattr(os, "urandom", lambda _: names.pop(0))
    write_bytes(tmp_path / "x", b"new")
    assert sorted(os.listdir(tmp_path)) == [f".x.{'00' * 6}", "x"]
    assert (tmp_path / f".x.{'00' * 6}").read_bytes() == b"of another"


def test_a_folder_that_takes_no_new_file_is_named_as_the_cause(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    real = os.open

    def refuse(name, flags, *mode):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "")
        return real(name, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ContentError, match=r"its folder takes no new file \(permission denied\)"):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"


def test_two_who_write_one_file_leave_one_whole_document(tmp_path):
    with writing(tmp_path / "x") as first, writing(tmp_path / "x") as second:
        for piece in (b"1" * 5000, b"2" * 5000):
            first(piece)
            second(piece[::-1] + b".")
    assert (tmp_path / "x").read_bytes() == b"1" * 5000 + b"2" * 5000
    assert os.listdir(tmp_path) == ["x"]


def test_a_new_file_has_what_the_umask_leaves_and_an_old_one_keeps_its_mode(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "new", b"")
        (tmp_path / "old").touch(0o777)
        (tmp_path / "old").chmod(0o602)
        write_bytes(tmp_path / "old", b"")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old")}
    assert modes == {"new": 0o640, "old": 0o602}


@pytest.mark.parametrize(
    "way", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/thread-self/fd/{}", "link"]
)
def test_a_name_of_an_open_file_goes_on_where_that_one_stands(tmp_path, way):
    path = tmp_path / "log"
    path.write_bytes(b"kept ")
    (tmp_path / "link").symlink_to(f"/proc/{os.getpid()}/fd/")
    with path.open("ab") as log:
        if way == "link":
            way = str(tmp_path / "link" / "{}")
        name = way.format(log.fileno())
        assert handle_named(name) == log.fileno()
        write_bytes(Path(name), b"and more")
    assert path.read_bytes() == b"kept and more"
    assert handle_named(path) is handle_named("/proc/1/fd/1") is handle_named("x\0") is None


@pytest.mark.parametrize(
    ("number", "error"), [(2, KeyboardInterrupt), (15, Terminated), (1, Terminated)]
)
def test_a_signal_waits_for_what_is_held(signals_heard, number, error):
    done = []
    with pytest.raises(error), signals.held():
        signal.raise_signal(number)
        done.append(signals.waiting())
    assert done == [True] and not signals.waiting()


def test_what_a_signal_breaks_off_is_followed_by_what_none_does(signals_heard):
    done = []
    with signals.held():
        with pytest.raises(Terminated) as ended, signals.let_through():
            signal.raise_signal(signal.SIGHUP)
            done.append("never")
        signal.raise_signal(signal.SIGINT)
        done.append("saved")
    assert (done, ended.value.exit_code) == (["saved"], 129)


def test_a_second_signal_ends_at_once_without_a_part_of_a_file(
    signals_heard, tmp_path, monkeypatch
):
    (tmp_path / "part").touch()
    monkeypatch.setattr(signals, "temporaries", {str(tmp_path / "part")})
    codes = []
    monkeypatch.setattr(os, "_exit", lambda code: codes.append(code) or sys.exit())
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert (codes, os.listdir(tmp_path)) == ([143], [])
