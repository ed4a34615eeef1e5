"""Writing files: what the operating system refuses is said, and the old file stays as it was."""

import os

import pytest

from attn_cli.errors import ContentError
from attn_cli.files import write_bytes


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
