"""A prompt as its model reads it: tokens, of one segment or two, for one stack or two."""

import os
from collections.abc import Sequence
from dataclasses import replace

from attn_cli import vocabulary
from attn_cli.errors import ContentError, UsageError, plural
from attn_cli.model.family import Model
from attn_cli.records import Facts, Prompt
from attn_cli.tokens.chat import turn
from attn_cli.tokens.token import Token

# Of a text so long, only so many characters to a token of the context are read at first.
_LONG, _FAR = 8_000_000, 32
_ARRAYS = 5  # of queries and keys that a layer needs at a time


def tokenise(
    model: Model,
    text: str | None = None,
    *,
    ids: Sequence[int] = (),
    special: bool = True,
    chat: bool = False,
    pair: str | None = None,
    target: str | None = None,
    target_ids: Sequence[int] = (),
) -> Prompt:
    """The prompt as tokens. Raises UsageError, and ContentError if it is too long.

    `chat`: the text is a user's turn, and the markers of the model's chat format stand around it.
    `pair` is the second segment of an encoder's text. Of an encoder–decoder the decoder reads its
    start token and the `target`, or just `target_ids`.
    """
    _check_inputs(model.facts, pair, target, target_ids)
    if chat and pair is not None:
        raise UsageError("--chat and --pair contradict each other", "a chat's turn is one segment")
    if ids and (chat or pair is not None):
        option = "--chat" if chat else "--pair"
        raise UsageError(f"{option} and --ids contradict each other", "ids are taken as they are")
    text = vocabulary.SAMPLE_PROMPT if text is None else text
    _check_size(model, "the prompt", text + (pair or ""))
    _check_size(model, "the target", target or "")
    if ids:
        tokens = tuple(_given(model, i, "--ids") for i in ids)
        read = Prompt(text="", has_text=False, tokens=tokens, special=special)
    elif pair is not None:
        tokens, types = model.tokenizer.pair(text, pair, special=special)
        read = Prompt(
            text=text, has_text=True, tokens=tokens, special=special, pair=pair, types=types
        )
    elif chat:
        found = turn(model.tokenizer, text, special=special)
        read = Prompt(
            text=found.text, has_text=True, tokens=found.tokens, special=special,
            chat=found.format, ends=found.ends,
        )  # fmt: skip
    else:
        tokens = model.tokenizer.encode(text, special=special)
        read = Prompt(text=text, has_text=True, tokens=tokens, special=special)
    if not read.tokens or (read.has_text and not _says_something(read)):
        raise UsageError(
            "the prompt gives no tokens" if text.strip() else "the prompt is empty",
            f"for example: attn trace {vocabulary.SAMPLE_PROMPT!r}",
        )
    _check_length(model.facts, "the prompt", len(read.tokens))
    if model.facts.encodes:
        read = replace(read, follow=_telling(model, read))
    if not model.facts.encoder:
        return read
    read = replace(read, target=_target(model, target, target_ids))
    _check_length(model.facts, "the target", len(read.last.tokens))
    return read


def _says_something(read: Prompt) -> bool:
    """Whether a text is more than what the tokenizer adds by itself."""
    return bool(read.text.strip()) or not all(token.special for token in read.tokens)


def _telling(model: Model, read: Prompt) -> int:
    """The token to follow in an encoder: the first to fill, or the last that is the user's."""
    masks = [i for i, id in enumerate(read.ids) if id == model.tokenizer.mask]
    own = [i for i, token in enumerate(read.tokens) if not token.special]
    return (masks or own[::-1] or [len(read.tokens) - 1])[0]


def _check_inputs(
    facts: Facts, pair: str | None, target: str | None, target_ids: Sequence[int]
) -> None:
    """Raises UsageError for an input that the model has no place for."""
    for option, text in {"--pair": pair, "--target": target}.items():
        if text is not None and not text.strip():
            raise UsageError(f"{option} is empty", f"leave {option} out, or give a text")
    given = {"--target": target is not None, "--target-ids": bool(target_ids)}
    if all(given.values()):
        raise UsageError("two targets: --target and --target-ids", "give one of them")
    for option in (option for option, used in given.items() if used and not facts.encoder):
        what = "a decoder alone" if facts.writes else "an encoder, it has no decoder"
        raise UsageError(
            f"{option} is what the decoder of an encoder–decoder reads; {facts.name} is {what}",
            "give the whole text as the prompt",
        )
    if pair is not None and facts.writes:
        raise UsageError(
            f"--pair is the second segment of an encoder's text; {facts.name} has no segments",
            "give the whole text as the prompt",
        )


def _check_size(model: Model, what: str, text: str) -> None:
    """Refuses a text far beyond the context by its beginning, before all of it is tokenised.

    A model that reads any length is bounded by the memory that one layer's attention takes.
    """
    context, name = model.facts.context, model.facts.name
    fits = int((memory() / (_ARRAYS * 4 * model.facts.heads)) ** 0.5)
    begins = text[: _FAR * (context or fits)]
    if len(begins) < len(text) > (_LONG if context else _LONG // 4):
        count = len(model.tokenizer.encode(begins, special=False))
        if count > (context or fits):
            most = f"reads at most {context:,}" if context else f"could read {fits:,} in its memory"
            who = name if context else "this machine"
            raise ContentError(f"{what} has more than {count:,} tokens, {who} {most}", "shorten it")


def memory() -> int:
    """The bytes that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_length(facts: Facts, what: str, count: int) -> None:
    if facts.context and count > facts.context:
        raise ContentError(
            f"{what} has {plural(count, 'token')}, {facts.name} reads at most {facts.context:,}",
            f"shorten it by {plural(count - facts.context, 'token')}",
        )


def _target(model: Model, text: str | None, ids: Sequence[int]) -> Prompt:
    """What the decoder reads: ids as they are, or its start token and the text."""
    if ids:
        tokens = tuple(_given(model, id, "--target-ids") for id in ids)
        return Prompt(text="", has_text=False, tokens=tokens)
    if model.facts.start < 0:
        raise ContentError(
            f"{model.facts.name} does not say which token its decoder starts with "
            "(decoder_start_token_id)",
            "--target-ids takes all that the decoder reads",
        )
    start = replace(token_of(model, model.facts.start), special=True)
    tokens = model.tokenizer.encode(text, special=False) if text else ()
    return Prompt(text=text or "", has_text=True, tokens=(start, *tokens))


def _given(model: Model, id: int, option: str) -> Token:
    if not 0 <= id < model.facts.vocabulary:
        last = model.facts.vocabulary - 1
        raise UsageError(
            f"{option} {id} is out of range", f"{model.facts.name} has ids 0 to {last}"
        )
    return token_of(model, id)


def token_of(model: Model, id: int) -> Token:
    """The token of an id; `<5>` where the tokenizer has none."""
    try:
        return model.tokenizer.token(id)
    except KeyError:
        return Token(id=id, text=f"<{id}>", span=(0, 0))
