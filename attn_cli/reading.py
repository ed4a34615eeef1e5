"""A prompt as its model reads it: tokens, of one segment or two, for one stack or two."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isqrt

from attn_cli import machine, parse
from attn_cli.errors import ContentError, UsageError, plural, shorten
from attn_cli.model.family import Model
from attn_cli.records import Facts, Prompt
from attn_cli.tokens.token import Token, telling

# Of a text of so many characters, so many to a token of the context are read at first: all of it is
# not where that says that it has far too many tokens, nor where it has far more characters.
_BRIEF, _LONG, _FAR, _MANY = 250_000, 5_000_000, 32, 1_250_000
_MOST = 1_000_000  # characters that are read where no context bounds them
_WIDE = 1 << 17  # tokens of context, at least, that a text is kept for


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
    force_context: bool = False,
    alone: bool = False,
) -> Prompt:
    """The prompt as tokens. Raises UsageError, and ContentError if it is too long.

    `chat`: the text is a user's turn, and the markers of the model's chat format stand around it.
    `pair` is the second segment of an encoder's text. Of an encoder–decoder the decoder reads its
    start token and the `target`, or just `target_ids`. With `force_context` a text may be longer
    than the context that the model was trained on. `alone`: no pass follows, so that the context
    bounds nothing and a decoder has no start.
    """
    _check_inputs(model.facts, pair, target, target_ids)
    if chat and pair is not None:
        raise UsageError("--chat and --pair contradict each other", "a chat's turn is one segment")
    if ids and (chat or pair is not None):
        option = "--chat" if chat else "--pair"
        raise UsageError(f"{option} and --ids contradict each other", "ids are taken as they are")
    text = model.facts.sample if text is None else text
    forced = force_context and model.facts.reads_on
    if alone and len(text) + len(pair or "") > _MOST:
        raise ContentError(f"the prompt has more than {_MOST:,} characters", "shorten it")
    _check_size(model, "the prompt", text + (pair or ""), forced)
    _check_size(model, "the target", target or "", forced)
    read = replace(_read(model, text, ids, special, chat, pair), forced=force_context)
    if not read.tokens or (read.has_text and not _says_something(read)):
        raise UsageError(
            "the prompt gives no tokens" if text.strip() else "the prompt is empty",
            f"for example: attn trace {model.facts.sample!r}",
        )
    if model.facts.encodes:
        masks = [i for i, id in enumerate(read.ids) if id == model.tokenizer.mask]
        read = replace(read, follow=telling(read.tokens, masks))
    if alone:
        return read
    _check_rows(model, read)
    _check_reserved(model, read)
    _check_length(model.facts, "the prompt", len(read.tokens), force_context)
    if not model.facts.encoder:
        return read
    read = replace(read, target=_target(model, target, target_ids))
    _check_rows(model, read.last)
    _check_length(model.facts, "the target", len(read.last.tokens), force_context)
    return read


def _read(
    model: Model, text: str, ids: Sequence[int], special: bool, chat: bool, pair: str | None
) -> Prompt:
    """The prompt as it was given: as ids, a pair of segments, a user's turn, or a text."""
    if ids:
        tokens = tuple(given(model, i, "--ids") for i in ids)
        return Prompt(text="", has_text=False, tokens=tokens, special=special)
    if pair is not None:
        tokens, types = model.tokenizer.pair(text, pair, special=special)
        return Prompt(
            text=text, has_text=True, tokens=tokens, special=special, pair=pair, types=types
        )
    if chat:
        from attn_cli.tokens.chat import turn

        found = turn(model.tokenizer, text, special=special)
        return Prompt(
            text=found.text, has_text=True, tokens=found.tokens, special=special,
            chat=found.format, ends=found.ends,
        )  # fmt: skip
    tokens = model.tokenizer.encode(text, special=special)
    return Prompt(text=text, has_text=True, tokens=tokens, special=special)


def _check_rows(model: Model, read: Prompt) -> None:
    """Raises ContentError for a token that the tokenizer gave and the embedding has no row for."""
    rows = model.facts.vocabulary
    for token in read.tokens:
        if token.id >= rows:
            raise ContentError(
                f"the tokenizer gives the token {shorten(repr(token.text))} the id {token.id:,}, "
                f"and the embedding has {rows:,} rows",
                "the tokenizer belongs to another model",
            )


def _check_reserved(model: Model, read: Prompt) -> None:
    """Raises UsageError for a token that stands for a picture, or for where one begins or ends."""
    for token in read.tokens:
        key = model.reserved.get(token.id, "")
        if not key and token.text in model.reserved_texts:
            beside = model.reserved_texts[token.text]
            there = not beside or model.tokenizer.id_of(beside) >= 0
            key = "tokenizer.ggml.tokens" if there else ""
        if key:
            raise UsageError(
                f"the prompt has the token {shorten(repr(token.text))} (id {token.id}), which "
                f"stands for a picture or a part of one ({key})",
                f"leave it out: attn reads the text part of {model.facts.name} alone",
            )


def _says_something(read: Prompt) -> bool:
    """Whether a text is more than what the tokenizer adds by itself."""
    return bool(read.text.strip()) or not all(token.special for token in read.tokens)


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


def most_bytes(facts: Facts) -> int:
    """The bytes of a text of which whatever is longer is refused."""
    return 4 * max(_LONG, _FAR * max(facts.context, _WIDE))


def _check_size(model: Model, what: str, text: str, forced: bool) -> None:
    """Refuses a text far beyond the context by its beginning, before all of it is tokenised.

    A model that reads any length is bounded by the memory that the weights of one head take.
    """
    context, name = 0 if forced else model.facts.context, model.facts.name
    if len(text) <= _BRIEF:
        return
    fits = isqrt(machine.available() // 4)
    begins = text[: _FAR * (context or fits)]
    if len(begins) < len(text):
        count = len(model.tokenizer.encode(begins, special=False))
        many = not context or len(text) > _LONG or count * len(text) > _MANY * len(begins)
        if count > (context or fits) and many:
            most = f"reads at most {context:,}" if context else f"could read {fits:,} in its memory"
            who = name if context else "this machine"
            raise ContentError(f"{what} has more than {count:,} tokens, {who} {most}", "shorten it")
        if len(text) > _LONG:
            said = f"{what} has more than {_LONG:,} characters, far more than {name} can read"
            raise ContentError(said, "shorten it")


def _check_length(facts: Facts, what: str, count: int, force_context: bool) -> None:
    if not facts.context or count <= facts.context or (force_context and facts.reads_on):
        return
    shorter = f"shorten it by {plural(count - facts.context, 'token')}"
    if force_context:
        raise ContentError(
            f"{what} has {plural(count, 'token')}, and {facts.name} has no vector for a position "
            f"beyond {facts.context:,}: --force-context cannot help",
            shorter,
        )
    on = ", or read on with --force-context" if facts.reads_on else ""
    raise ContentError(
        f"{what} has {plural(count, 'token')}, {facts.name} reads at most {facts.context:,}",
        shorter + on,
    )


def _target(model: Model, text: str | None, ids: Sequence[int]) -> Prompt:
    """What the decoder reads: ids as they are, or its start token and the text."""
    if ids:
        tokens = tuple(given(model, id, "--target-ids") for id in ids)
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


def given(model: Model, id: int, option: str) -> Token:
    """The token of an id that an option named. Raises UsageError for one beyond the vocabulary."""
    return token_of(model, typed_id(model, str(id), option))


def typed_id(model: Model, digits: str, option: str) -> int:
    """The id of these digits. Raises UsageError for one that the model has no row for."""
    last = model.facts.vocabulary - 1
    if parse.INTEGER.fullmatch(digits.lstrip("+")) and 0 <= (id := int(digits)) <= last:
        return id
    hint = f"{model.facts.name} has ids 0 to {last}"
    raise UsageError(f"{option} {shorten(digits)} is out of range", hint)


def token_of(model: Model, id: int) -> Token:
    """The token of an id; `<5>` where the tokenizer has none."""
    try:
        return model.tokenizer.token(id)
    except KeyError:
        return Token(id=id, text=f"<{id}>", span=(0, 0))


def looked_up(model: Model, forms: Iterable[str]) -> list[tuple[Token, ...]]:
    """The tokens of a word spelt in each of these forms: one where the vocabulary has it, or its
    pieces. A form that the model has no tokens for is left out."""
    ids = ((form, model.tokenizer.id_of(form)) for form in forms)
    found = (_pieces(model, form) if id < 0 else (token_of(model, id),) for form, id in ids)
    return [tokens for tokens in found if tokens]


def _pieces(model: Model, text: str) -> tuple[Token, ...]:
    known = model.tokenizer
    try:
        found = known.encode(text, special=False) if text.strip() else ()
    except ContentError:
        if known.problem:
            raise
        return ()
    return () if known.unknown in {token.id for token in found} else found
