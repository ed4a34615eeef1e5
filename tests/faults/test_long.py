"""What is told does not grow with what it quotes: long names keep their ends, on pages too."""

import copy
import json

import pytest
from cli.conftest import run
from faults.damaged import ASKED
from faults.test_fuzz import paths

LONG = {"word": "x" * 100_000, "words": "x y " * 25_000}
_MOST = 10_000  # characters that a page may be longer for one name, which may stand there twice


def _at(document, place):
    for step in place:
        document = document[step]
    return document


def _names(document):
    """Where a document has names, once for each kind of place; what is called text is content."""
    found = {}
    for place in paths(document):
        if isinstance(_at(document, place), str) and place[-1] != "text":
            found.setdefault(tuple("" if isinstance(s, int) else s for s in place), place)
    return found


@pytest.mark.faults
@pytest.mark.parametrize("asked", ASKED)
def test_a_page_does_not_grow_with_a_name(tmp_path, asked):
    saved = tmp_path / "saved.json"
    saved.write_bytes(run(*ASKED[asked], "--json", env={"OLLAMA_MODELS": "none"}).out)
    document, whole = json.loads(saved.read_bytes()), len(run("show", saved).out)
    longer = 0
    for kind, place in _names(document).items():
        if kind[0] in ("schema", "tool") or (kind[0] == "model" and asked != "cost"):
            continue
        for text in LONG.values():
            other = copy.deepcopy(document)
            _at(other, place[:-1])[place[-1]] = text
            saved.write_text(json.dumps(other))
            shown = run("show", saved)
            assert len(shown.out) < whole + _MOST, place
            assert all(len(line) <= 2000 for line in shown.said.splitlines()), place
            longer += len(shown.out) > whole
    assert longer or asked != "cost"
