"""What a page can be drawn as: the module of each view, whose `draw` makes its text."""

DRAWERS = {
    "table": "attn_cli.views.table",
    "heatmap": "attn_cli.views.heatmap",
    "dots": "attn_cli.views.dots",
    "lines": "attn_cli.views.lines",
}
