"""English: what the views of a page say."""

SENTENCES = {
    # cells
    "cells.size": "size:",
    "cells.mark": "{mark} > {least}",
    "cells.largest": "largest {largest}",
    "cells.nothing": "size: all 0",
    "cells.below": "below zero {marks}",
    "cells.hidden": "{mark} masked",
    "cells.columns": "columns:",
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
}
