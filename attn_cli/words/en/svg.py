"""English: what pictures of pages say."""

SENTENCES = {
    "note.no_picture": "{option} changes nothing here: {format} is a picture of the weights",
    "svg.weights": "weights   {axes}   darker = more",
    "svg.mask": "the mask   {axes}",
    "svg.mask_marked": "the mask   {axes}   − newly hidden   + newly opened",
    "svg.layers": "several layers, each head as layer.head",
    "svg.split": "Derived: {first} is split off as a key. The weights of the other keys are "
    "divided by their sum, row by row.",
    "svg.before": "before",
    "svg.after": "after",
    "svg.cell": "{row} → {column} {number}",
    "svg.hidden": "{cell}, masked",
    "svg.unseen": "{row} → {column} masked",
    "svg.sees": "{row} → {column} sees",
    "svg.scale": "shade:",
    "svg.key_sees": "sees",
    "svg.key_hidden": "masked",
    "svg.key_closed": "newly hidden",
    "svg.key_opened": "newly opened",
    "svg.key_nan": "not a finite number",
    "svg.looks": "{head}: {rows}.",
    "svg.too_large": "the picture would take up to {size}, more than {most}",
    "svg.fewer": "fewer layers, heads, queries or keys: --layer, --head, --query, --key",
}
