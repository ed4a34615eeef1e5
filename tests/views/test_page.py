"""The line of tokens above every page."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from attn_cli.records import Prompt
from attn_cli.tokens.token import Token
from attn_cli.views.page import tokens_line
from attn_cli.views.text import label

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=30)


@given(texts=TEXTS, width=st.integers(16, 90))
def test_a_line_ends_between_two_tokens_and_nothing_is_dropped(texts, width):
    tokens = tuple(Token(id=i, text=text, span=(0, 0)) for i, text in enumerate(texts))
    screen = Console(file=io.StringIO(), width=width, color_system=None)
    screen.print(tokens_line(Prompt(text="", has_text=False, tokens=tokens)))
    lines = screen.file.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    shown = [f"▏{label(text, 40)}" for text in texts]
    if all(cell_len(part) < width for part in shown):
        assert "".join(line.removeprefix(" ") for line in lines).startswith("".join(shown))
        assert all(line.startswith((" ▏", "   ")) for line in lines)
    assert lines[-1].endswith(f"   {len(texts)} token{'s' * (len(texts) != 1)}")
