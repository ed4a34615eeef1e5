"""A prompt as the user's turn of a chat, in the formats that attn knows by their special tokens.

What a checkpoint's tokenizer has as added tokens decides, never the model's name; templates in
files are data and are never rendered. What is written ends where the answer begins.
"""

from dataclasses import replace
from typing import NamedTuple

from attn_cli.errors import UsageError
from attn_cli.tokens.token import Token, Tokenizer


class Format(NamedTuple):
    """One user turn: `first`, `before`, the user's text, `after`.

    A tokenizer has this format if it has all `markers` and none of the `strange` ones, by which
    a relative tells itself apart. `first` stands once, where everything begins; `end` ends the
    answer. `trims`: the text is stripped of white space. `alone`: it is cut as if it stood alone.
    """

    markers: tuple[str, ...]
    before: str
    after: str
    end: str
    first: str = ""
    strange: tuple[str, ...] = ()
    trims: bool = False
    alone: bool = False


class Turn(NamedTuple):
    """The whole text as it was written, its tokens, and the ids that end the answer."""

    format: str
    text: str
    tokens: tuple[Token, ...]
    ends: tuple[int, ...]


FORMATS = {
    # The templates of huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct and Qwen/Qwen3-0.6B.
    # Phi-4 writes a separator of its own between the role and the text.
    "chatml": Format(
        ("<|im_start|>", "<|im_end|>"),
        "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>",
        strange=("<|im_sep|>",),
    ),
    # https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3/
    "llama3": Format(
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>",
        first="<|begin_of_text|>", trims=True,
    ),
    # https://ai.google.dev/gemma/docs/core/prompt-structure, the template of google/gemma-2-2b-it
    "gemma": Format(
        ("<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>",
        first="<bos>", trims=True,
    ),
    # https://docs.mistral.ai/cookbook/concept-deep-dive-tokenization-templates, V3 and V3-Tekken
    # (V1 writes [INST] in plain letters). mistral-common cuts the text alone and joins the ids.
    "mistral": Format(
        ("<s>", "[INST]", "[/INST]"), "[INST]", "[/INST]", "</s>", first="<s>", alone=True
    ),
}  # fmt: skip


def turn(tokenizer: Tokenizer, text: str, *, special: bool = True) -> Turn:
    """`text` as a user's turn. Without `special` neither the format's nor the tokenizer's BOS.

    Markers that the user typed act as markers, as special tokens in any text do. Where the format
    has no BOS, what the tokenizer adds in front stays. Raises UsageError if no format or more than
    one fits, or if there is no text.
    """
    name = _recognised(tokenizer)
    form = FORMATS[name]
    content = text.strip() if form.trims else text
    if not content:
        raise UsageError("the prompt is empty", "--chat needs something that the user says")
    first = form.first if special else ""
    space = " " if form.alone and _needs_space(tokenizer, form.before) else ""
    written = f"{first}{form.before}{space}{content}{form.after}"
    tokens = list(tokenizer.encode(written, special=special and not form.first))
    # An EOS that the tokenizer adds would end the answer before it begins.
    while tokens and tokens[-1].span == (len(written), len(written)):
        tokens.pop()
    # GGUF files call some markers user-defined instead of control tokens.
    markers = {tokenizer.added(text) for text in (*form.markers, form.end)}
    marked = (replace(t, special=True) if t.id in markers else t for t in tokens)
    end = tokenizer.added(form.end)
    return Turn(name, written, tuple(marked), (end,) if end >= 0 else ())


def _recognised(tokenizer: Tokenizer) -> str:
    found = [
        name
        for name, form in FORMATS.items()
        if all(tokenizer.added(marker) >= 0 for marker in form.markers)
        and not any(tokenizer.added(marker) >= 0 for marker in form.strange)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"--chat: this model has the special tokens of {' and of '.join(found)}",
            "write the markers yourself: special tokens in the prompt are recognised",
        )
    opening = {n: next(m for m in f.markers if f.before.startswith(m)) for n, f in FORMATS.items()}
    known = (f"{marker} ({name})" for name, marker in opening.items())
    raise UsageError(
        "--chat: this model has the special tokens of no chat format that attn knows",
        f"it knows {', '.join(known)}",
    )


def _needs_space(tokenizer: Tokenizer, marker: str) -> bool:
    """Whether the tokenizer puts a space before a text, but not before one after a marker."""
    alone = tokenizer.encode("a", special=False)[:1]
    after = tokenizer.encode(f"{marker}a", special=False)[1:2]
    return [t.text[:1] for t in (*alone, *after)] == [" ", "a"]
