"""Dots: matrices and the weights of heads as dots, larger = larger; the rest as in tables."""

from functools import partial

from attn_cli.views import items, table
from attn_cli.views.cells import DOTS, draw_cells, draw_measured
from attn_cli.views.charts import draw_grids
from attn_cli.views.items import Page
from attn_cli.views.look import Look

KINDS = {
    **table.KINDS,
    items.Matrix: partial(draw_cells, marks=DOTS),
    items.Measured: partial(draw_measured, marks=DOTS),
    items.Grids: partial(draw_grids, marks=DOTS),
}


def draw(page: Page, look: Look) -> str:
    """The page as text."""
    return table.draw(page, look, KINDS)
