"""English: the pages of `attn embed`."""

SENTENCES = {
    # nearest tokens, analogies
    "embed.nearest": "Nearest to `{sum}` is `{first}`, with a cosine of {cosine}.",
    "embed.answer": "{sum} is nearest to `{first}`, with a cosine of {cosine}.",
    "embed.alone": "There is no other token beside {sum}.",
    "embed.what": "The embedding has a vector for each token, {placed}. cos(a, b) = a·b / "
    "(|a| |b|): 1 where two vectors point the same way, 0 where they have no direction in common, "
    "whatever their lengths.",
    "embed.placed": "which training has placed so that directions carry meaning",
    "embed.not_placed": "which no training has placed, so that directions need not mean anything",
    "embed.sum_is": "Vectors are added and subtracted as they are, number by number; the sum has "
    "the length {length}.",
    "embed.table": "nearest of {count} tokens   cosine = dot product / ({length} × length)",
    "embed.alike": "Cosines so near to 1 say nothing of meaning: training has not told these "
    "tokens apart, most likely since its text never holds them.",
    "embed.rank": "rank",
    "embed.id": "id",
    "embed.cosine": "cosine",
    "embed.dot": "dot product",
    "embed.sign": "sign",
    "embed.word": "word",
    "embed.terms": "what was looked up",
    "embed.left_out_itself": "Left out is the word itself: {terms}.",
    "embed.left_out": "Left out, since a sum stays near its own terms: {terms}.",
    "embed.left_out_one": "`{token}` (rank {rank}, cosine {cosine})",
    "embed.analogy": "If both pairs differ in the same way, {plus} − {minus} and {answer} − "
    "{other} point the same way: the cosine of these two differences is {cosine}.",
    "embed.spaces": "`␣` is a space that belongs to the token. Words are looked up with it first, "
    "as they stand inside a text.",
    "embed.bare": "Without it, {tokens} would be another token: in double quotes a word is taken "
    'as it is, "{word}".',
    "embed.and": "{first}, {rest}",
    "embed.quoted": "`{token}`",
    "embed.plus": "{first} + {rest}",
    "embed.minus": "{first} − {rest}",
    "embed.negative": "−{rest}",
    # one word in two texts
    "embed.two": "{words} in two texts: the cosine of the two vectors is {first} before the first "
    "layer and {last} after {layers}.",
    "embed.both": "`{first}` and `{rest}`",
    "embed.side": "{letter}   {text}   (`{token}` at position {position})",
    "embed.layers": "the two vectors after each layer, and the tokens that lie where they are "
    "pulled",
    "embed.layers_alone": "the two vectors after each layer",
    "embed.after": "after",
    "embed.layers_one": "1 layer",
    "embed.layers_two": "both layers",
    "embed.layers_many": "all {count} layers",
    "embed.length": "length in {letter}",
    "embed.toward": "{letter} is pulled toward",
    "embed.starts": "0 is what enters the first layer: {same}. Each layer adds what it takes from "
    "the other words of its text.",
    "embed.same_token": "the vector of the same token in both texts{positions}",
    "embed.other_token": "the vectors of two tokens{positions}",
    "embed.positions": ", with that of its position",
    "embed.positions_two": ", each with that of its position",
    "embed.pull_output": "The pull of A is its vector less that of B, both through the final norm, "
    "and that of B is the opposite. Named are the tokens whose rows of the output matrix have the "
    "largest cosines with a pull.",
    "embed.pull_embedding": "The pull of A is its vector less that of B, and that of B is the "
    "opposite. Named are the tokens whose rows of the embedding have the largest cosines with a "
    "pull.",
    "embed.no_pull": "The rows of the embedding are no vectors of the layers' width, so no tokens "
    "can be named that a vector is pulled toward.",
    "embed.last": "after {layers}, with their cosines",
    "embed.same": "The vectors are the same all the way: no word that it can see differs.",
    # notes
    "embed.pieces": "{word} is {count} tokens for {model} ({pieces}); the last stands for it",
    "embed.signs": "{word} was looked up as one word; a sum has spaces around each sign: {sum}",
}
