"""The line of tokens above every page."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from attn_cli.records import Facts, Prompt
from attn_cli.tokens.token import Token
from attn_cli.views import table
from attn_cli.views.items import Heading
from attn_cli.views.look import Look
from attn_cli.views.text import label

MODEL = Facts(
    name="m", family="f", source="s", layers=1, heads=1, kv_heads=1, model_width=2, head_width=2,
    vocabulary=3, context=0, parameters=4,
)  # fmt: skip

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=30)


@given(texts=TEXTS, width=st.integers(16, 90))
def test_a_line_ends_between_two_tokens_and_nothing_is_dropped(texts, width):
    tokens = tuple(Token(id=i, text=text, span=(0, 0)) for i, text in enumerate(texts))
    heading = Heading(MODEL, Prompt(text="", has_text=False, tokens=tokens))
    model, *found = table.renderables([heading], Look(width=width, full=True))
    assert model.plain == " m · f · 1 layer × 1 head · width 2 (2 per head)"
    screen = Console(file=io.StringIO(), width=width, color_system=None)
    screen.print(*found, sep="\n")
    lines = screen.file.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    shown = [f"▏{label(text, 40)}" for text in texts]
    if all(cell_len(part) < width for part in shown):
        assert "".join(line.removeprefix(" ") for line in lines).startswith("".join(shown))
        assert all(line.startswith((" ▏", "   ")) for line in lines)
    assert lines[-1].endswith(f"   {len(texts)} token{'s' * (len(texts) != 1)}")
