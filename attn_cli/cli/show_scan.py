"""What `attn show` makes of the results of a scan: the ranking, or one head and its examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from attn_cli import parse, vocabulary
from attn_cli.cli import output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.options import (
    AttentionOptions,
    OutputOptions,
    complete,
    complete_models,
    one_of,
    opened_model,
)
from attn_cli.cli.schema import document_schema, kinds_of
from attn_cli.errors import AttnError, UsageError, some
from attn_cli.views.formats import FORMATS
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.records import Facts
    from attn_cli.scanning.again import Again
    from attn_cli.scanning.results import Head, Scan
    from attn_cli.views.items import Page
    from attn_cli.views.saved import Saved

_COLUMNS = tuple(vocabulary.SCAN_COLUMNS)
# What of a model may be another when it has moved.
_UNMOVED = ("name", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanShown:
    """What is shown of the results of a scan."""

    sort: Annotated[
        str,
        Option("--sort", metavar="COLUMN", parser=one_of("--sort", _COLUMNS),
               show_default="as it was scanned", autocompletion=complete(*_COLUMNS),
               help=f"Of a scan: what ranks heads, {', '.join(_COLUMNS)}."),
    ] = ""  # fmt: skip
    head: Annotated[
        str | None,
        Option("--head", "-H", metavar="L.H", show_default=False,
               help="Of a scan: one head, with its examples."),
    ] = None  # fmt: skip
    model: Annotated[
        str | None,
        Option("--model", "-m", metavar="MODEL", autocompletion=complete_models,
               show_default="the one that was scanned, if it has a name",
               help="With --head, the model that draws its examples."),
    ] = None  # fmt: skip


class Asked:
    """All that was typed of it."""

    def __init__(
        self, shown: ScanShown, attention: AttentionOptions, out: OutputOptions, *, quiet: bool
    ) -> None:
        self.shown, self.attention, self.out, self.quiet = shown, attention, out, quiet

    def refuse(self, name: str) -> None:
        """Raises UsageError for what only the results of a scan have."""
        shown, attention = self.shown, self.attention
        given = {"--sort": shown.sort, "--head": shown.head, "--model": shown.model,
                 "--stack": attention.stack, "--kind": attention.kind != "self"}  # fmt: skip
        for option in (option for option, value in given.items() if value):
            raise UsageError(f"{option} is of the results of attn scan", f"this is attn.{name}/1")


def result(document: Mapping[str, Any], saved: "Saved", asked: Asked, kind: str) -> output.Result:
    """The results in a format. Raises UsageError, and ContentError where parts do not fit."""
    from attn_cli.views import scan as view
    from attn_cli.views.json import encode

    view.check(saved.model, saved.result)
    settings = {**saved.settings, "sort": _column(saved, asked)}
    head = _head(saved, asked) if asked.shown.head is not None else None
    form, heads = FORMATS[kind], saved.result.heads
    if kind == "html":
        return _html(saved, settings, head, asked)
    if asked.shown.model is not None and head is None:
        raise UsageError("--model does nothing without --head", "it draws the examples of a head")
    if not form.documents and not form.arrays:
        items = _page(saved, settings, head, asked, picture=output.is_picture(kind, asked.out))
        written = [output.drawn(items, asked.out, kind)]
        notes = (*saved.notes, *output.unused_view(items, asked.out))
        return output.Result(page=list, found=None, notes=notes, written=written)
    if kind not in COMMANDS["scan"].formats:
        raise UsageError(f"attn.scan/1 cannot be written as {kind}", "--format json")
    if head is not None:
        heads = (head,)
    elif asked.shown.sort:
        heads = view.ranked(saved.result, settings["sort"])
    document = _of_heads(document, [saved.result.heads.index(one) for one in heads], settings)
    if not form.arrays:
        written = [encode(document, line=True)]
    else:
        from attn_cli.views import saved as reading
        from attn_cli.views import scan_rows

        read = reading.read(document, "scan", document_schema("scan"), kinds_of("scan"))
        written = scan_rows.written(kind, read.model, read.result, settings, read.notes)
    return output.Result(page=list, found=None, notes=saved.notes, written=written)


def _column(saved: "Saved", asked: Asked) -> str:
    """What heads are ranked by. Raises UsageError."""
    known = {one.measure for one in saved.result.heads[0].measures}
    there = [name for name in _COLUMNS if vocabulary.SCAN_COLUMNS[name] in known]
    if asked.shown.sort and asked.shown.sort not in there:
        raise UsageError(f"nothing of --sort {asked.shown.sort} was measured", some(there, 12))
    typed = asked.shown.sort or saved.settings.get("sort")
    return typed if typed in there else there[0]


def _head(saved: "Saved", asked: Asked) -> "Head":
    """The head that was asked for. Raises UsageError."""
    facts = saved.model
    known = dict.fromkeys((one.stack, one.kind) for one in saved.result.heads)
    places = parse.attentions(asked.attention.stack, asked.attention.kind, tuple(known))
    if len(places) > 1:
        raise UsageError("--head shows one head", "choose with --stack and --kind")
    ((stack, kind),) = places
    sizes = facts.layers_of(stack), facts.heads_of(stack)
    at = parse.head(asked.shown.head, *sizes, "--head")
    for one in saved.result.heads:
        if (one.stack, one.kind, one.layer, one.head) == (stack, kind, *at):
            return one
    there = [f"{one.layer}.{one.head}" for one in saved.result.heads if one[:2] == (stack, kind)]
    raise UsageError(f"--head {asked.shown.head} was not scanned", f"there are {some(there, 8)}")


def _of_heads(
    document: Mapping[str, Any], places: list[int], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The document with these heads, in this order, and the texts of their examples."""
    result = document["result"]
    heads = [result["heads"][place] for place in places]
    examples = [e for head in heads for one in head["measures"] for e in one["examples"]]
    kept = sorted({int(example["text"]) for example in examples})
    numbers = {old: new for new, old in enumerate(kept)}

    def renumbered(one: Any) -> Any:
        return {
            **one,
            "examples": [{**e, "text": numbers[int(e["text"])]} for e in one["examples"]],
        }

    heads = [{**head, "measures": list(map(renumbered, head["measures"]))} for head in heads]
    found = {**result, "texts": [result["texts"][at] for at in kept], "heads": heads}
    return {**document, "settings": dict(settings), "result": found}


def _html(
    saved: "Saved", settings: Mapping[str, Any], head: "Head | None", asked: Asked
) -> output.Result:
    from attn_cli.views import scan_html

    model, found = saved.model, saved.result
    drawn, why = _again(model, found, head, settings, asked) if head else ((), None)
    more = {"drawn": drawn, "chosen": head, "why": why}
    written = list(scan_html.render(model, found, settings, saved.notes, **more))
    return output.Result(page=list, found=None, notes=saved.notes, written=written)


# --- one head ------------------------------------------------------------------------------------


def _page(
    saved: "Saved", settings: Mapping[str, Any], head: "Head | None", asked: Asked, *,
    picture: bool,
) -> "Page":  # fmt: skip
    from attn_cli.views import scan, scan_head

    model, found = saved.model, saved.result
    if head is None:
        draw = scan.picture if picture else scan.page
        return draw(model, found, settings)
    drawn, why = _again(model, found, head, settings, asked)
    if picture and drawn:
        return scan_head.picture(model, found, head, settings, drawn)
    return scan_head.page(model, found, head, settings, drawn, why)


def _again(
    facts: "Facts", found: "Scan", head: "Head", settings: Mapping[str, Any], asked: Asked
) -> "tuple[tuple[Again, ...], Note | None]":
    """The attention of the head's examples, or why it is not drawn."""
    from attn_cli.scanning.again import Other, again
    from attn_cli.views.scan import of

    name = asked.shown.model or _name(settings)
    if not name:
        return (), note("scan.again_path", model=str(settings.get("model") or facts.name))
    try:
        model = opened_model(name, settings.get("adapter"), settings.get("ignore_config") or ())
    except AttnError as problem:
        if asked.shown.model:
            raise
        return (), note("scan.again_fails", why=problem.message)
    measured = of(head, settings["sort"])
    examples = [(measured.measure, one) for one in measured.examples]
    try:
        if not _same(facts, model):
            raise Other(note("scan.again_sizes", model=name))
        return tuple(again(model, found, head, examples, settings)), None
    except Other as other:
        return (), other.why


def _name(settings: Mapping[str, Any]) -> str:
    """What the model was called, unless that is a path: those of a file from elsewhere are not
    looked up here."""
    from attn_cli.opening import places

    name = settings.get("model")
    known = (*places.EMBEDDED, *places.PACKAGES)
    return name if name in known and not settings.get("adapter") else ""


def _same(facts: "Facts", model: "Model") -> bool:
    """Whether a model has the sizes of the one that was scanned, whatever it is called."""
    from attn_cli.views.json import MODEL

    names = [name for name in (*MODEL, "encoder") if name not in _UNMOVED]
    return all(getattr(facts, name) == getattr(model.facts, name) for name in names)
