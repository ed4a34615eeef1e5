"""A model without a usable tokenizer: ids work, texts say what is wrong."""

import shutil

import pytest

from attn_cli import session
from attn_cli.errors import ContentError


@pytest.fixture(params=[None, b"not json", b"{}"])
def folder(request, tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    (copy / "tokenizer.json").unlink()
    if request.param is not None:
        (copy / "tokenizer.json").write_bytes(request.param)
    return str(copy)


def test_ids_need_no_tokenizer(folder):
    trace = session.trace(ids=[14, 20], model=folder)
    assert [token.text for token in trace.prompt.tokens] == ["<14>", "<20>"]
    assert trace.next[0].candidates[0].text.startswith("<")
    assert "shown as their ids" in str(trace.notes[0])


def test_a_text_needs_one(folder):
    with pytest.raises(ContentError, match=r"tokenizer\.json"):
        session.trace("the king", model=folder)
