"""Colours that can be read on light and dark screens, and that say nothing which is not said."""

import numpy as np
import pytest
from rich.color import ColorSystem
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from views.test_screens import items_of

from attn_cli.views import table
from attn_cli.views.items import Matrix, say
from attn_cli.views.look import STYLES, Look

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
# The sixteen colours of a terminal, as VGA had them.
VGA = TerminalTheme(
    BLACK, WHITE,
    [BLACK, (170, 0, 0), (0, 170, 0), (170, 85, 0), (0, 0, 170), (170, 0, 170), (0, 170, 170),
     (170, 170, 170)],
    [(85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255),
     (85, 255, 255), WHITE],
)  # fmt: skip


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot([0.2126, 0.7152, 0.0722], parts))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast(WHITE, BLACK) == pytest.approx(21)
    assert contrast((118, 118, 118), WHITE) == pytest.approx(4.54, abs=0.01)
    assert contrast((91, 155, 255), WHITE) < 3


@pytest.mark.parametrize("name", STYLES)
def test_every_style_can_be_read_on_white_and_on_black(name):
    style = Style.parse(STYLES[name])
    assert not style.dim
    assert not style.conceal
    assert style.bgcolor is None
    if style.color is None:
        return
    for system in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT):
        found = style.color.downgrade(system).get_truecolor()
        assert min(contrast(found, WHITE), contrast(found, BLACK)) >= 4.5
    own = style.color.downgrade(ColorSystem.STANDARD)
    # The terminal's own, none of its greys: one of those is the background of many.
    assert own.number % 8 not in (0, 7)
    found = own.get_truecolor(VGA)
    assert min(contrast(found, WHITE), contrast(found, BLACK)) >= 3


def test_every_style_used_stands_in_the_table():
    known = set(STYLES.values()) | {"", "none"}
    for item in items_of(["is", "China", "[MASK]"]):
        for full in (False, True):
            for drawing in table.renderables([item], Look(colour=True, full=full)):
                text = getattr(drawing, "renderable", drawing)
                used = {str(text.style), *(str(span.style) for span in text.spans)}
                assert used <= known, type(item)


def test_the_sign_is_said_without_colour_and_colour_says_it_again():
    values = np.array([[0.0, 1.0, -0.25], [-1.0, 0.5, np.nan]])
    item = Matrix("scores", values, ["a", "b"], ["a", "b", "c"])
    (_, drawing) = table.renderables([item], Look(colour=True))
    styles = {
        drawing.plain[span.start : span.end].strip(): str(span.style) for span in drawing.spans
    }
    assert {text: style for text, style in styles.items() if text[-1:].isdigit()} == {
        "1.00": STYLES["above.large"], "0.50": STYLES["above"], "−0.25": STYLES["below"],
        "−1.00": STYLES["below.large"],
    }  # fmt: skip
    plain = [*table.renderables([item], Look())][1]
    assert plain.plain == drawing.plain
    assert {str(span.style) for span in plain.spans} == {STYLES["strong"]}


def test_colours_are_explained_only_where_there_are_any():
    page = [say("table.colours", "colours")]
    assert table.draw(page, Look()) == ""
    terminal = {"TERM": "xterm-256color"}
    assert "blue above zero" in table.draw(page, Look(colour=True, terminal=terminal))
