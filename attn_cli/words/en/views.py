"""English: what the views of a page say."""

SENTENCES = {
    # cells
    "cells.size": "size:",
    "cells.mark": "{mark} > {least}",
    "cells.largest": "largest {largest}",
    "cells.nothing": "size: all 0",
    "cells.below": "below zero {marks}",
    "cells.nan": "? NaN",
    "cells.hidden": "{mark} masked",
    "cells.columns": "columns:",
    "cells.none": "--view {view} changes nothing here: this page has no matrix to draw",
    # lines
    "lines.tokens": "{count}: {names}",
    "lines.cell": "{row} {arrow} {column} {number}",
    "lines.number": "{row} {arrow} {column}: {number}",
    "lines.rest": "{row}, {count} others together {number}",
    "lines.between": "{row}, {count} others from {low} to {high}",
    "lines.masked": "{row}, masked: {names}",
    "lines.weights": "weights   query → key, the largest first",
    "lines.mask": "the mask   what each query sees",
    "lines.sees": "{row} sees {seen} of {all} keys",
    "lines.hidden": "{row}, newly hidden: {names}",
    "lines.opened": "{row}, newly opened: {names}",
    "lines.share": "{name} {number}",
    "lines.steps": "steps {first} to {last}: {number}",
    "lines.gauge": "layer {layer}, head {head}: {number}",
    "lines.ranked": "{header}: {name} {number}",
    # steps of which too little is known
    "bare.title": "as the document has it",
    "bare.title_embed": "x, what enters the layer",
    "bare.title_project": "the queries, keys and values of the dot products",
    # show
    "show.note": "{said}",
    "show.lacks": "From a document. It does not hold, and so this page does not show: {lacks}.",
    "show.positions": "the queries and keys that were not asked for, and what is said of all of "
    "them",
    "show.model": "what norms, positions and biases the model has",
    "show.ending": "the rest of the layer and how the logits come about",
    "show.weights": "the weights",
    "show.window": "whether the model's own mask is a window",
    "show.watched": "the word and the heads that were watched",
    "note.own_names": "the document does not say what norms and positions the model has: {names} "
    "keep their own names",
}
