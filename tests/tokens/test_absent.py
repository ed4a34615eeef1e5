"""A model without a usable tokenizer: ids work, texts say what is wrong."""

import shutil

import pytest

from attn_cli import session
from attn_cli.errors import ContentError
from attn_cli.tokens.absent import deferred
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training.tokenizer import build

OURS = WordPiece(build(["the king"]))


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


def test_a_tokenizer_is_opened_once_and_not_before_it_is_asked_for():
    opened = []
    tokenizer = deferred(lambda: opened.append(1) or OURS)
    assert opened == []
    assert tokenizer() is tokenizer() is OURS
    assert opened == [1]
    assert OURS.problem == ""


def test_one_that_cannot_be_opened_answers_for_ids_alone():
    def fail():
        raise error

    for error, problem in (
        (ContentError("no file", "copy it"), "no file (copy it)"),
        (ContentError("no file"), "no file"),
    ):
        tokenizer = deferred(fail)
        assert tokenizer() is tokenizer()
        found = tokenizer()
        assert (found.problem, found.size, found.unknown, found.id_of("a")) == (problem, 0, -1, -1)
        assert found.decode([5, 7]) == "<5><7>"
        with pytest.raises(KeyError):
            found.token(5)
        assert found.mask == -1
        for ask in (found.encode, found.added):
            with pytest.raises(ContentError) as caught:
                ask("a")
            assert caught.value is error
        with pytest.raises(ContentError) as caught:
            found.pair("a", "b")
        assert caught.value is error


def test_only_our_own_errors_make_a_tokenizer_absent():
    with pytest.raises(ZeroDivisionError):
        deferred(lambda: 1 / 0)()
