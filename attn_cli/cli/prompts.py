"""Where prompts come from: TEXT, a file, standard input, ids, or the sample prompt."""

import json
import re
import select
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn_cli import files, parse, vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import PromptOptions
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import ContentError, UsageError

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.records import Prompt

_WAIT = 1.0
_MAX_STDIN = 1 << 30


def prompts(options: PromptOptions, model: "Model") -> "Iterator[Prompt]":
    """The prompts that were asked for, tokenised one by one; a single one unless `--each` is given.

    Raises UsageError for two sources, ContentError for what cannot be read.
    """
    from attn_cli import session

    for source in _sources(options):
        yield session.tokenise(model, **source, special=not options.no_special, chat=options.chat)


def _sources(options: PromptOptions) -> list[dict[str, Any]]:
    """Each prompt as it was given: a text, or ids."""
    given = [name for name, value in
             (("TEXT", options.text), ("--file", options.file), ("--ids", options.ids))
             if value is not None]  # fmt: skip
    if len(given) > 1:
        raise UsageError(f"two prompts: {' and '.join(given)}", "give one of them")
    if options.ids is not None:
        return [{"ids": _ids(options.ids)}]
    if options.text not in (None, "-"):
        if options.each:
            raise UsageError("--each needs --file or standard input", "it reads a prompt per line")
        return [{"text": _typed(options.text)}]
    data, where = _raw(options)
    text, notes = files.decode(data, where)
    for remark in notes:
        output.tell(remark, quiet=options.quiet)
    if options.each:
        return [{"text": line} for line in _lines(text, where, options.quiet)]
    return [{"text": re.sub(r"\r?\n\Z", "", text)}]


def _typed(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        offset = len(text[: error.start].encode("utf-8", "surrogateescape"))
        raise UsageError(f"TEXT is not valid UTF-8 at byte offset {offset}") from None
    return text


def _ids(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        raise UsageError("--ids holds no ids", "for example --ids 5,6,7")
    return tuple(parse.integer(part, "--ids", 0, 10**9 - 1) for part in parts)


def _raw(options: PromptOptions) -> tuple[bytes, str]:
    if options.file is not None:
        return files.read_bytes(Path(options.file)), options.file
    if options.text == "-" or CURRENT.get().is_fed:
        return _read_stdin(options.quiet), "standard input"
    output.note("note.sample_prompt", quiet=options.quiet)
    return vocabulary.SAMPLE_PROMPT.encode(), "the sample prompt"


def _read_stdin(quiet: bool) -> bytes:
    streams = CURRENT.get()
    if streams.stdin is None:
        raise ContentError("standard input is closed", "give the prompt as TEXT or --file")
    try:
        if not select.select([streams.stdin], [], [], _WAIT)[0]:
            output.note("note.waiting", quiet=quiet)
        data = streams.stdin.buffer.read(_MAX_STDIN + 1)
    except (OSError, ValueError) as error:
        raise ContentError(f"cannot read standard input: {files.reason(error)}") from None
    if len(data) > _MAX_STDIN:
        raise ContentError("standard input has more than 1 GiB")
    return data


def _lines(text: str, where: str, quiet: bool) -> Iterator[str]:
    lines = text.removesuffix("\n").split("\n")
    kept = [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1)]
    filled = [(number, line) for number, line in kept if line.strip()]
    if not filled:
        raise ContentError(f"{where} holds no prompt", "one prompt per line")
    if len(filled) < len(kept):
        blank = len(kept) - len(filled)
        output.note("note.blank_lines", count=blank, quiet=quiet)
    as_json = _text_of(filled[0][1]) is not None
    for number, line in filled:
        found = _text_of(line) if as_json else line
        if found is None:
            raise ContentError(
                f"{where}: line {number} is not a JSON object with a text key",
                "the first line is one, so every line must be",
            )
        if any("\ud800" <= char <= "\udfff" for char in found):
            raise ContentError(f"{where}: line {number} holds half a surrogate pair, not text")
        yield found


def _text_of(line: str) -> str | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    text = value.get("text") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None
