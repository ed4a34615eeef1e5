"""Writing files: what the operating system refuses is said, and the old file stays as it was."""

import os
import select
import signal
import threading

import pytest

from attn_cli import files
from attn_cli.errors import ContentError
from attn_cli.writing import write_bytes


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
