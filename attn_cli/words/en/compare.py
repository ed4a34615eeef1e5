"""English: the page and the notes of `attn compare`."""

SENTENCES = {
    "compare.left": "A (left)",
    "compare.right": "B (right)",
    "compare.same_right": "B (right): the same model and prompt",
    "compare.what_if": "what-if in B: {changes}",
    "compare.equal": "No row that both have differs{of}: all numbers are the same, to the last "
    "bit.",
    "compare.rounding": "No row that both have differs{of} by a relative difference of more than "
    "{relative}: so little is the rounding of float32.",
    "compare.different": "A and B differ most{of} in `{array}` of {where}: a relative difference "
    "of {relative} (the largest, {largest}, is at {at}){goes}.",
    "compare.unlike": "A and B differ{of} in {count} numbers of `{array}` of {where} that are "
    "finite in one of them only, or in neither{goes}.",
    "compare.chosen": " (of what was chosen)",
    "compare.only_next": "No array is compared, only what the two predict{goes}.",
    "compare.only_mask": "Of all arrays only the mask (`visible`) is compared{goes}.",
    "compare.goes": "; the likeliest token goes from `{left}` ({before}) to `{right}` ({after})",
    "compare.stays": "; the likeliest token stays `{left}` ({before} and {after})",
    "compare.longer": "B and A begin alike, and one goes on. Each query of a decoder sees itself "
    "and earlier tokens only, so a token that is added changes no row before it. This is why the "
    "keys and values of tokens once read can be kept (the KV cache): the next token's query is "
    "matched with them as they are. The earlier queries have asked already and need not be kept.",
    "compare.rounds": "The differences come from adding the same products in another order, as a "
    "matrix product of another size does.",
    "compare.both_sides": "The longer prompt begins with the shorter one. An encoder's queries see "
    "later tokens too, so a token that is added changes the rows before it, and nothing of them "
    "can be kept.",
    "compare.first": "The first{of} to differ by more than rounding is `{array}` of {where}, in "
    "step {step}: nothing before it does.",
    "compare.paired": "{of}{count} tokens are compared, of A's {left} and B's {right}; rows and "
    "columns of the others are left out.",
    "compare.replaced": "{of}One token takes the place of another, and the two are compared: "
    "{pairs}.",
    "compare.of": "{stack}: ",
    "compare.measure": "A relative difference is the largest |A − B| of a row, divided by the "
    "larger of 1 and the largest number of that row in A. A plain 0 is exactly 0.",
    "compare.steps": "the largest relative difference of each layer and step",
    "compare.steps_cells": "largest relative difference",
    "compare.axes": "rows: layers   columns: steps",
    "compare.arrays": "each array where it differs most",
    "compare.step_1": "1 embed",
    "compare.step_2": "2 project",
    "compare.step_3": "3 scores",
    "compare.step_4": "4 mask",
    "compare.step_5": "5 softmax",
    "compare.step_6": "6 sum",
    "compare.place_encoder_self": "encoder {layer}",
    "compare.place_decoder_self": "decoder {layer}",
    "compare.place_decoder_cross": "cross {layer}",
    "compare.column_layer": "layer",
    "compare.column_largest": "largest",
    "compare.column_mean": "mean",
    "compare.column_relative": "relative",
    "compare.column_at": "largest at",
    "compare.head_at": "head {head}: {tokens}",
    "compare.cell_at": "{query} → {key}",
    "compare.not_finite": "Not in these differences are numbers that are finite in one of the two "
    "only, such as the −∞ of a cell that one of them hides: {counts}.",
    "compare.count_of": "{count} of `{array}`",
    "compare.cell_axes": "rows: cells",
    "compare.cells": "the cells of `{array}` that changed most",
    "compare.column_a": "A",
    "compare.column_b": "B",
    "compare.column_change": "change",
    "compare.next": "{what}, A and B",
    "compare.after": "next token after `{left}`",
    "compare.after_two": "next token after `{left}` in A and `{right}` in B",
    "compare.divergence": "KL divergence of B's probabilities from A's, Σ A·ln(A ÷ B) over the "
    "whole vocabulary: {nats} nats (0: the same prediction).",
    "compare.no_divergence": "There is no KL divergence: it needs the same vocabulary on both "
    "sides, and logits that are finite.",
    "compare.note_layers": "{left} has {of_left} layers and {right} has {of_right}: those of the "
    "same number are compared, as far as both have them",
    "compare.note_arrays": "not compared, because only one side has them or their shapes differ: "
    "{arrays}",
    "compare.note_vocabulary": "{left} and {right} have different vocabularies: tokens are aligned "
    "and predictions compared by their texts",
}
