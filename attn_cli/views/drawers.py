"""What a page can be drawn as: the module of each view, whose `draw` makes its text."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_cli.views.look import Look

DRAWERS = {
    "table": "attn_cli.views.table",
    "heatmap": "attn_cli.views.heatmap",
    "dots": "attn_cli.views.dots",
    "lines": "attn_cli.views.lines",
}


def drawer(look: "Look") -> Any:
    """The module of a look's view; that of tables where it has none."""
    return import_module(DRAWERS[look.view or "table"])
