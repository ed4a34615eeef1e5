"""English: the page of `attn tokens`."""

SENTENCES = {
    "note.reader": "{name} does not open as a model ({reason}): only its tokenizer is used",
    "note.twice": "{token} is there twice, at {positions}: the tokenizer adds it, and the text has "
    "it too; --no-special leaves out the added one",
    "note.unexplained": "how {words} came about is not explained: this tokenizer cuts in a way "
    "that attn does not know",
    "note.long_word": "how {words} of more than {most:,} characters came about is not told",
    "note.words_many": "{count} words",
    # one tokenizer
    "tokens.headline": "{characters} in {tokens}: {ratio} characters per token.{added}",
    "tokens.headline_ids": "The ids spell {text}: {characters} in {tokens}.",
    "tokens.headline_no_text": "{tokens}, and no tokenizer that tells what they spell.",
    "tokens.headline_none": "The text gives no token of its own.{added}",
    "tokens.again_same": "Read as a text, this gives the same ids.",
    "tokens.again_other": "Read as a text, this gives other ids: {ids}.",
    "tokens.added": " The tokenizer adds {names} by itself.",
    "tokens.characters_one": "1 character",
    "tokens.characters_many": "{count} characters",
    "tokens.split": "{characters} put together from several tokens, which hold a part of the bytes "
    "each: {names}.",
    "tokens.split_one": "1 character is",
    "tokens.split_many": "{count} characters are",
    "tokens.split_name": "{character} ({count} tokens)",
    "tokens.beyond": "{model} reads at most {context} tokens: from position {first} on "
    "(`{token}`), {tokens} do not fit; ✗ marks them.",
    "tokens.title": "the tokens",
    "tokens.column_id": "id",
    "tokens.column_bytes": "bytes",
    "tokens.column_characters": "characters",
    "tokens.column_how": "how",
    "tokens.how_added": "added",
    "tokens.how_given": "given",
    "tokens.how_found": "in the text",
    "tokens.how_bytes": "one byte",
    "tokens.how_unknown": "unknown",
    "tokens.how_unexplained": "not explained",
    "tokens.how_long": "word too long",
    "tokens.how_whole": "a whole word",
    "tokens.how_begins": "begins its word",
    "tokens.how_goes_on": "goes on with it",
    "tokens.how_unmerged": "no merge",
    "tokens.how_merge": "1 merge",
    "tokens.how_merges": "{count} merges",
    "tokens.how_score": "score {score}",
    # how words were cut
    "tokens.merged": "Byte-pair encoding: a word begins as single characters or bytes. Of all "
    "neighbours the pair of the lowest rank, which training merged first, becomes one; then again, "
    "until no pair is in the list of merges.",
    "tokens.merged_scores": "Byte-pair encoding by scores: a word begins as single characters. Of "
    "all neighbours the pair that makes the token of the best score becomes one; then again, until "
    "no pair makes a token.",
    "tokens.whole": "A word that is in the vocabulary as it stands is one token without any merge.",
    "tokens.pieces": "Word pieces: the longest entry that a word begins with, then the longest "
    "that goes on with what is left; `##` marks those that do not begin a word.",
    "tokens.scores": "The unigram model: each entry has a score, the logarithm of its probability. "
    "Of all ways to cut a word, the one with the best sum is taken.",
    "tokens.words": "how the words were cut",
    "tokens.words_some": "how the words were cut   the first {shown} of {count}; --full shows all",
    "tokens.more_words": "--merges lists how {words} were cut.",
    "tokens.words_one": "1 word",
    "tokens.words_many": "{count} different words",
    "tokens.column_word": "word",
    "tokens.column_rank": "rank",
    "tokens.column_score": "score",
    "tokens.column_merge": "merge",
    "tokens.column_then": "then",
    "tokens.column_left": "what is left",
    "tokens.column_cut": "cut",
    "tokens.column_sum": "sum",
    "tokens.column_next": "next best",
    "tokens.column_its": "its sum",
    "tokens.pair": "{left} + {right}",
    "tokens.gap": "… {count} more",
    # two tokenizers
    "tokens.two": "{first} makes {tokens} of {characters}, {second} makes {others}: {agree}.",
    "tokens.agree": "{common} of their {all} different boundaries are the same",
    "tokens.agree_none": "there is no boundary inside",
    "tokens.compared": "the two tokenizers",
    "tokens.row_vocabulary": "tokens in the vocabulary",
    "tokens.row_tokens": "tokens of this text",
    "tokens.row_per_token": "characters per token",
    "tokens.row_added": "tokens added by itself",
    "tokens.row_boundaries": "boundaries inside the text",
    "tokens.row_alone": "boundaries of its own",
    "tokens.column_at": "at",
    "tokens.aligned": "the text between boundaries of both   ≠ where they cut it differently",
    "tokens.differing": "where the two cut the text differently   {count} of {all} stretches; "
    "--full shows all",
    "tokens.of_model": "{model}",
    "tokens.column_text": "text",
    "tokens.nothing": "–",
}
