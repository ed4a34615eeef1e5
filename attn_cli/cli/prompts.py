"""Where prompts come from: TEXT, a file, standard input, ids, or the sample prompt."""

import gc
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from attn_cli import files, lines, parse
from attn_cli.cli import output
from attn_cli.cli.options import PromptOptions
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import AttnError, ContentError, UsageError, shorten

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.model.selection import Positions
    from attn_cli.records import Prompt, Trace
    from attn_cli.session import Question

T = TypeVar("T")
Line = Callable[[], tuple[str, dict[str, Any]]]  # reads the text of one, and what came with it
Answer = Callable[["Prompt"], "output.Result | Generator[Question, Trace, output.Result]"]
# Prompts that go through a model together, up to so many tokens, where it has so many bytes: to
# read these for each prompt would take longer than to compute.
_TOGETHER, _SHORT, _WORTH = 16, 256, 1 << 23
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_IDS = "ids are whole numbers with a comma between them: {option} 5,6,7"


def reader(options: PromptOptions, model: "Model") -> "Callable[..., Prompt]":
    """What makes a prompt for a model of a text or ids, with the options on how to read it."""
    from attn_cli.reading import tokenise

    targets = () if options.target_ids is None else _ids(options.target_ids, "--target-ids", model)
    typed = {"--pair": options.pair, "--target": options.target}
    return partial(
        tokenise, model, special=not options.no_special, chat=options.chat, target_ids=targets,
        force_context=options.force_context,
        **{option[2:]: None if text is None else checked(text, option)
           for option, text in typed.items()},
    )  # fmt: skip


def answers(
    options: PromptOptions,
    model: "Model",
    answer: "Answer",
    read: "Callable[..., Prompt] | None" = None,
    sample: str = "",
) -> "Iterator[output.Result | None]":
    """What `answer` makes of each prompt that was asked for; a single one unless `--each` is given.

    With it, a line that fails is told with its place and gives None; `--strict` raises instead.
    An `answer` that is a generator yields what it asks of the model and is sent the trace: those of
    several short prompts that are there already are made together, where that is faster.
    `read` makes a prompt of a `text`, or of `ids`, where that is not to tokenise it; `sample` is
    the text where none was given, if not the model's own. Raises UsageError for two sources,
    ContentError for what cannot be read.
    """
    from attn_cli import session

    read = read or reader(options, model)
    if not options.each:
        if options.strict:
            raise UsageError("--strict needs --each", "it stops at the first line that fails")
        found = _begun(answer, single(options, model, read, sample))
        if isinstance(found, _Begun):
            steps = session.tracing(found.asked)
            found = found.end(partial(output.watched, steps, quiet=options.quiet))
        yield found
        return
    alone = options.strict or model.weights.size < _WORTH
    for group in _groups(options, read, 1 if alone else _TOGETHER):
        yield from _answered(group, answer, options)


def _answered(
    group: "list[tuple[str, Prompt | None]]", answer: "Answer", options: PromptOptions
) -> "Iterator[output.Result | None]":
    begun = [
        (place, prompt and _tried(partial(_begun, answer, prompt), place, options))
        for place, prompt in group
    ]
    traces = _traces([found.asked for _, found in begun if isinstance(found, _Begun)])
    for place, found in begun:
        asks = isinstance(found, _Begun)
        yield _tried(partial(found.end, next(traces)), place, options) if asks else found


class _Begun(NamedTuple):
    """An answer that waits for the trace of what it asks."""

    work: "Generator[Question, Trace, output.Result]"
    asked: "Question"

    def end(self, trace: "Callable[[], Trace]") -> "output.Result":
        """The answer, given what makes the trace, or raises why there is none."""
        try:
            self.work.send(trace())
        except StopIteration as stop:
            return stop.value
        raise RuntimeError("an answer asks once")


def _begun(answer: "Answer", prompt: "Prompt") -> "output.Result | _Begun":
    work = answer(prompt)
    return _Begun(work, next(work)) if isinstance(work, Generator) else work


def _traces(asked: "list[Question]") -> "Iterator[Callable[[], Trace]]":
    """What makes the trace of each question, or raises; as many at once as take little memory."""
    from attn_cli import room, session

    while asked:
        first = asked[0]
        count = room.at_once(first.model, first.prompt, first.request, len(asked))
        if count == 1:
            yield partial(session.finished, session.tracing(first))
        for found in session.together(asked[:count]) if count > 1 else ():
            yield partial(_given, found)
        asked = asked[count:]


def _given(found: "Trace | AttnError") -> "Trace":
    if isinstance(found, AttnError):
        raise found
    return found


def _groups(
    options: PromptOptions, read: "Callable[[str], Prompt]", most: int
) -> "Iterator[list[tuple[str, Prompt | None]]]":
    """The prompts of the input with their places, as many at a time as are there already.

    None stands for a line that could not be read.
    """
    gc.enable()  # cycles that libraries leave behind add up over many prompts, unlike over one
    group, tokens = [], 0
    for place, source, more in _lines(options):
        if source:
            prompt = _tried(partial(_prompt, source, read), place, options)
            group.append((place, prompt))
            tokens += len(prompt.tokens) if prompt else 0
        if not more or len(group) == most or tokens >= _SHORT:
            yield group
            group, tokens = [], 0
    if group:
        yield group


def _prompt(source: Line, read: "Callable[[str], Prompt]") -> "Prompt":
    text, given = source()
    return replace(read(text), other_keys=given)


def _tried(work: "Callable[[], T]", place: str, options: PromptOptions) -> "T | None":
    """What the work for a line gives; None where it failed, which is told or, if strict, raised."""
    try:
        return work()
    except AttnError as problem:
        failed = ContentError(f"{place}: {problem.message}", problem.hint)
        if options.strict:
            raise failed from None
        output.error(failed)
        return None


def positions(
    prompt: "Prompt", place: tuple[str, str], query: list[str], key: list[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The queries and the keys of an attention that were asked for."""
    from attn_cli.views.text import labels

    of_queries, of_keys = prompt.sides(*place)
    return (
        parse.positions(query, of_queries.labels, "--query", labels(of_queries.labels)),
        parse.positions(key, of_keys.labels, "--key", labels(of_keys.labels)),
    )


def kept(
    prompt: "Prompt", places: dict[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]]
) -> "dict[tuple[str, str], Positions]":
    """The same, None for all of them."""

    def some(chosen: tuple[int, ...], side: "Prompt") -> tuple[int, ...] | None:
        return None if chosen == tuple(range(len(side.tokens))) else chosen

    return {
        place: tuple(map(some, chosen, prompt.sides(*place))) for place, chosen in places.items()
    }


def single(
    options: PromptOptions, model: "Model", read: "Callable[..., Prompt]", sample: str = ""
) -> "Prompt":
    """What is read of the prompt as it was given: a text, or ids. Without one of the `sample`, or
    the model's own."""
    from attn_cli.reading import most_bytes

    refuse_two(options)
    if options.ids is not None:
        return read(ids=_ids(options.ids, "--ids", model))
    if options.text not in (None, "-"):
        return read(text=checked(options.text, "TEXT"))
    parts, where = _source(options, sample or model.facts.sample)
    most = most_bytes(model.facts)
    data, whole = files.beginning(parts, most)
    text, notes = files.decode(data, where)
    for remark in notes:
        output.tell(remark, quiet=options.quiet)
    found = read(text=re.sub(r"\r?\n\Z", "", text))
    if not whole:  # unless what is read of the beginning has said it better
        raise ContentError(f"{where} has more than {most:,} bytes", "shorten it")
    return found


def refuse_two(options: PromptOptions) -> None:
    """Raises UsageError for two sources of one prompt."""
    sources = {"TEXT": options.text, "--file": options.file, "--ids": options.ids}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"two prompts: {' and '.join(given)}", "give one of them")


def checked(text: str, what: str) -> str:
    """A text that was typed. Raises UsageError if it is not valid UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        offset = len(text[: error.start].encode("utf-8", "surrogateescape"))
        raise UsageError(f"{what} is not valid UTF-8 at byte offset {offset}") from None
    return text


def _ids(text: str, option: str, model: "Model") -> tuple[int, ...]:
    from attn_cli.reading import typed_id

    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        raise UsageError(f"{option} holds no ids", f"for example {option} 5,6,7")
    for part in parts:
        if not re.fullmatch(r"[+-]?[0-9]+", part, re.ASCII):
            what = f"{shorten(part)!r} is no id" if part else "an id is missing between two commas"
            raise UsageError(f"{option} {shorten(text)}: {what}", _IDS.format(option=option))
    return tuple(typed_id(model, part, option) for part in parts)


def _source(options: PromptOptions, sample: str = "") -> tuple[Iterator[bytes], str]:
    """What the prompt is read from, part by part, and its name."""
    name = "-" if options.file is None else options.file
    if not files.is_stdin(name):
        return files.prompt_parts(name), name
    if options.file or options.text == "-" or CURRENT.get().is_fed:
        return files.prompt_parts(name), "standard input"
    output.note("note.sample_prompt", quiet=options.quiet)
    return iter([sample.encode()]), "the sample prompt"


def _lines(options: PromptOptions) -> Iterator[tuple[str, Line | None, bool]]:
    """The place of each line as they come, what reads it, and whether another is there already.

    Nothing reads a blank one, which comes only where it is the last that is there.
    """
    refuse_two(options)
    if options.ids is not None or options.text not in (None, "-"):
        raise UsageError("--each needs --file or standard input", "it reads a prompt per line")
    parts, where = _source(options)
    number = blank = 0
    read = None
    for number, (line, more) in enumerate(files.lines(parts, lines.LONGEST), 1):
        place = f"{where}: line {number}"
        if line is None:
            yield place, _too_long, more
            continue
        if number == 1 and line[:2] in _UTF16:
            files.decode(line, where)
        if not line.strip():
            blank += 1
            if not more:
                yield place, None, False
            continue
        if read is None:
            read = _of_json if lines.are_json(where, line) else _of_text
        yield place, partial(read, line, options.quiet), more
    if number == blank:
        raise ContentError(f"{where} holds no prompt", "one prompt per line")
    if blank:
        key = "note.blank_lines" if blank > 1 else "note.blank_line"
        output.note(key, count=blank, quiet=options.quiet)


def _too_long() -> NoReturn:
    raise lines.too_long()


def _of_text(line: bytes, quiet: bool) -> tuple[str, dict[str, Any]]:
    text, notes = lines.text_of(line)
    for remark in notes:
        output.tell(remark, quiet=quiet)
    return text, {}


def _of_json(line: bytes, quiet: bool) -> tuple[str, dict[str, Any]]:
    from attn_cli.views.json import encode

    text, others = lines.json_of(line)
    try:
        encode([[others]])  # as deep as it will be in a document
    except (TypeError, RecursionError):
        what = "the keys beside text hold what cannot be given back"
        hint = "whole numbers have at most 64 bits there, and lists are at most 200 deep"
        raise ContentError(what, hint) from None
    return text, others
