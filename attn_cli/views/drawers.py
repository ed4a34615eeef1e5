"""What a page can be drawn as: for each, a function of the page and the look that gives a text."""

from attn_cli.views import table

DRAWERS = {"table": table.draw}
