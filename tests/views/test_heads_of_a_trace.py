"""Each head's numbers stand under that head's title."""

import re

import numpy as np
import pytest

import attn_cli
from attn_cli.views import trace as view
from attn_cli.views.matrix import Look

PROMPT = "the greatest thinker in China is"


@pytest.fixture(scope="module")
def trace():
    return attn_cli.trace(PROMPT)


def shown(trace, capsys):
    from rich.console import Console

    console = Console(width=80, force_terminal=False, color_system=None)
    items = view.render(trace, Look(), steps=frozenset({5}), queries=range(6), keys=range(6))
    for item in items:
        console.print(item)
    return capsys.readouterr().out


def test_the_weights_of_every_head_stand_under_its_own_title(trace, capsys):
    sections = re.split(r"layer (\d) · head (\d)\n", shown(trace, capsys))[1:]
    assert len(sections) == 3 * 8
    for layer, head, text in zip(*[iter(sections)] * 3, strict=True):
        row = re.search(r"^ +is ((?: +\d\.\d\d){6}) *$", text, re.MULTILINE)
        found = [float(number) for number in row.group(1).split()]
        expected = trace.attention[int(layer)].weights[int(head), 5]
        assert found == pytest.approx(np.round(expected, 2).tolist(), abs=0.0051)
