"""The heatmap: matrices as shaded cells, everything else as in tables."""

from functools import partial

from attn_cli.views import items, table
from attn_cli.views.cells import SHADES, draw_cells, draw_measured
from attn_cli.views.items import Page
from attn_cli.views.look import Look

KINDS = {
    **table.KINDS,
    items.Matrix: partial(draw_cells, marks=SHADES),
    items.Measured: partial(draw_measured, marks=SHADES),
}


def draw(page: Page, look: Look) -> str:
    """The page as text."""
    return table.draw(page, look, KINDS)
