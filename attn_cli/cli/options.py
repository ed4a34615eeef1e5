"""Every shared option, once. A command names the groups it takes; `flatten` hands them to typer."""

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import inf
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Context, Option

from attn_cli import parse, vocabulary
from attn_cli.cli.commands import COMMANDS, check_format
from attn_cli.cli.language import Language
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import AttnError, UsageError, shorten
from attn_cli.maths import cores
from attn_cli.views.drawers import DRAWERS
from attn_cli.vocabulary import KINDS, MASKS, STACKS, WHAT_IFS, WITHOUT

if TYPE_CHECKING:
    from attn_cli.model.family import Model

MOST = 10**9 - 1


def number(
    kind: Any, name: str, metavar: str, low: float, high: float, help: str, *short: str, **more: Any
) -> Any:
    """An option for typer that takes a whole or a real number, as `kind` says, in a range."""
    read = parse.number if kind in (float, float | None) else parse.integer

    def parser(text: Any) -> float:
        return read(str(text), name, low, high)

    return Annotated[kind, Option(name, *short, metavar=metavar, parser=parser, help=help, **more)]


def one_of(option: str, choices: tuple[str, ...]) -> Callable[[Any], str]:
    """A parser for typer: one of a few words."""

    def parse(text: Any) -> str:
        if text not in choices:
            raise UsageError(
                f"{option} {shorten(str(text))!r} is unknown", f"one of {', '.join(choices)}"
            )
        return str(text)

    return parse


def _memory(text: Any) -> int:
    return parse.memory(text, "--max-memory") if isinstance(text, str) else text


def complete(*words: str) -> Callable[[str], list[str]]:
    """A completion for typer: those of a few words that begin as typed."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """What is here by name; the shell itself completes paths."""
    from attn_cli.opening import hub, ollama, places

    names = [*places.EMBEDDED, "random", *places.PACKAGES]
    with contextlib.suppress(AttnError):
        names += hub.names()
        names += [ollama.PREFIX + name for name in ollama.names()]
    return complete(*names)(incomplete)


def _numbers(fact: str) -> Callable[[Context, str], list[str]]:
    """Completes the numbers of what the chosen model has."""

    def numbers(ctx: Context, incomplete: str) -> list[str]:
        from attn_cli.opening.load import load

        try:
            name = ctx.params.get("model") or vocabulary.DEFAULT_MODEL
            facts = load(name if isinstance(name, str) else name[0]).facts
        except AttnError:
            return []
        return complete(*map(str, range(getattr(facts, fact))), "all")(incomplete)

    return numbers


_MASK_STARTS = ["".join(word.usage.partition(":")[:2]) for word in MASKS.values()]


def _masks(link: str, **kind: bool) -> str:
    """The words of one kind: `causal, none or window:N`."""
    *others, last = (
        word.usage for word in MASKS.values() if all(getattr(word, k) == v for k, v in kind.items())
    )
    return f"{', '.join(others)} {link} {last}" if others else last


_MODEL = Option(
    "--model", "-m", envvar="ATTN_MODEL", show_envvar=True, metavar="MODEL",
    help="tiny, tiny-encoder, tiny-translator, pencil, smollm2, minilm, "
    "random[:layers=2,heads=4,model_width=32,seed=0], a .gguf file, a folder with config.json, "
    "org/name in the Hugging Face cache, or ollama:name[:tag].",
    autocompletion=complete_models,
)  # fmt: skip
ModelName = Annotated[str, _MODEL]
ModelNames = Annotated[list[str], _MODEL]
IgnoreConfig = Annotated[
    list[str],
    Option("--ignore-config", metavar="KEY", help="Accept this refused key of the config."),
]
_ADAPTER = Option(
    "--adapter", metavar="DIR", show_default=False,
    help="Add the LoRA adapter in this folder, or of this ORG/NAME, to the model's weights.",
)  # fmt: skip
Adapter = Annotated[str | None, _ADAPTER]
Adapters = Annotated[list[str], _ADAPTER]


def layers(kind: Any = str, **more: Any) -> Any:
    """The option of several layers."""
    return Annotated[
        kind,
        Option("--layer", "-l", metavar="LAYERS", autocompletion=_numbers("layers"),
               help="0, -1, 0,1, 0-1 or all.", **more),
    ]  # fmt: skip


def heads(kind: Any = str, **more: Any) -> Any:
    """The option of several heads."""
    return Annotated[
        kind,
        Option("--head", "-H", metavar="HEADS", autocompletion=_numbers("heads"),
               help="0, -1, 0,2, 0-3 or all.", **more),
    ]  # fmt: skip


Layers, Heads = layers(), heads()
# None is the first layer that has attention.
FirstLayers = layers(str | None, show_default="0")
FirstHeads = heads(str | None, show_default="0")
Layer = Annotated[
    str | None,
    Option("--layer", "-l", metavar="LAYER", autocompletion=_numbers("layers"), help="One layer.",
           show_default="0"),
]  # fmt: skip
Head = Annotated[
    str, Option("--head", "-H", metavar="HEAD", autocompletion=_numbers("heads"), help="One head.")
]
Queries = Annotated[
    list[str],
    Option(metavar="QUERIES", help="Rows: positions, ranges or tokens' texts. Repeatable."),
]
Keys = Annotated[
    list[str],
    Option(metavar="KEYS", help="Columns: positions, ranges or tokens' texts. Repeatable."),
]
Steps = Annotated[
    list[str],
    Option(metavar="STEP", help="1 to 6 or a step's name. Repeatable.",
           autocompletion=complete(*map(str, range(1, 7)), *parse.STEP_NAMES)),
]  # fmt: skip
Quiet = Annotated[bool, Option("--quiet", help="No notes on stderr.")]
Top = number(int, "--top", "N", 1, MOST, "Candidates to show.")
MaxTokens = number(
    int | None, "--max-tokens", "N", 1, 100_000, "Tokens to add, one after the other.", "-n"
)


MaxMemory = Annotated[
    int,
    Option(
        "--max-memory", metavar="SIZE", parser=_memory, show_default="half of what is free",
        help="Refuse what needs more: 2GiB, 500MB, 1.5G.",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """Where the prompt comes from, and the model that reads it."""

    text: Annotated[
        str | None,
        Argument(metavar="[TEXT]", help="The prompt; - reads standard input.", show_default=False),
    ] = None
    file: Annotated[
        str | None,
        Option("--file", metavar="FILE", help="Read the prompt from a file; - is standard input."),
    ] = None
    each: Annotated[
        str,
        Option(
            metavar="line", parser=one_of("--each", ("line",)),
            help="One prompt per line of the input, or JSON lines with a text key. A line that "
            "fails is named on stderr, the others go on.",
        ),
    ] = ""  # fmt: skip
    strict: Annotated[
        bool, Option("--strict", help="With --each, stop at the first line that fails.")
    ] = False
    ids: Annotated[
        str | None, Option("--ids", metavar="1,2,3", help="Token ids instead of a text.")
    ] = None
    pair: Annotated[
        str | None, Option("--pair", metavar="TEXT", help="The second segment, for an encoder.")
    ] = None
    target: Annotated[
        str | None,
        Option("--target", metavar="TEXT",
               help="What the decoder of an encoder–decoder reads, after its start token."),
    ] = None  # fmt: skip
    target_ids: Annotated[
        str | None,
        Option("--target-ids", metavar="0,1,2", help="All that the decoder reads, as token ids."),
    ] = None
    chat: Annotated[
        bool,
        Option(
            "--chat",
            help="The text as a user's turn in the model's chat format (ChatML, Llama 3, Gemma, "
            "Mistral), known by its special tokens. Markers in the text act as markers.",
        ),
    ] = False  # fmt: skip
    no_special: Annotated[
        bool, Option("--no-special", help="Leave out tokens the tokenizer would add.")
    ] = False
    force_context: Annotated[
        bool,
        Option("--force-context", help="Read more tokens than the model was trained to, where it "
               "has positions for them."),
    ] = False  # fmt: skip
    model: ModelName = vocabulary.DEFAULT_MODEL
    adapter: Adapter = None
    ignore_config: IgnoreConfig = ()
    max_memory: MaxMemory = 0
    quiet: Quiet = False

    def load(self) -> "Model":
        """The model that was asked for. Raises ContentError and UsageError."""
        return opened_model(self.model, self.adapter, self.ignore_config)


def opened_model(name: str, adapter: str | None, ignore_config: Sequence[str]) -> "Model":
    """A model with an adapter, if one is given. Raises ContentError and UsageError."""
    from attn_cli.opening.load import load

    if adapter == "":
        raise UsageError("--adapter is empty", "a folder with adapter_config.json")
    return load(name, ignore_config=ignore_config, adapter=adapter or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """Which attention is shown and changed, in models that have several."""

    stack: Annotated[
        str,
        Option(metavar="encoder|decoder|all", parser=one_of("--stack", (*STACKS, "all")),
               autocompletion=complete(*STACKS, "all"), show_default="the only one, or decoder",
               help="Which stack of layers."),
    ] = ""  # fmt: skip
    kind: Annotated[
        str,
        Option(metavar="self|cross|all", parser=one_of("--kind", (*KINDS, "all")),
               autocompletion=complete(*KINDS, "all"),
               help="cross: the decoder's attention to the encoder's tokens."),
    ] = "self"  # fmt: skip

    def of(self, facts: Any) -> tuple[tuple[str, str], ...]:
        """The chosen of a model's attentions. Raises UsageError."""
        return parse.attentions(self.stack, self.kind, facts.attentions)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfOptions:
    """Changes to the attention itself."""

    mask: Annotated[
        list[str],
        Option(
            metavar="MASK",
            autocompletion=complete(*_MASK_STARTS),
            help=f"{_masks('or', base=True)} replaces the model's mask; "
            f"{_masks('and', base=False, opens=False)} hide more; {_masks('and', opens=True)} "
            "shows a window the first keys. Repeatable. Q and K may be tokens.",
        ),
    ] = ()  # fmt: skip
    mask_value: number(
        float | None, "--mask-value", "V", -3e38, 3e38,
        "Put V where −∞ belongs, to see what goes wrong.", show_default="-inf",
    ) = None  # fmt: skip
    attention_temperature: number(
        float, "--attention-temperature", "T", 0, inf, "weights = softmax(masked / T)."
    ) = 1.0
    without_head: Annotated[
        list[str],
        Option(metavar="L.H", help="Remove head H of layer L; L.0,2 and L.all too. Repeatable."),
    ] = ()  # fmt: skip
    without: Annotated[
        list[str],
        Option(metavar="WORD", autocompletion=complete(*WITHOUT),
               help=f"Leave out {', '.join(WITHOUT)}. Repeatable."),
    ] = ()  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """What was typed, under the names that `session.trace` and documents have for it."""
        typed = {name: getattr(self, name) for name in WHAT_IFS}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in typed.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How and where the result is written."""

    format: str = ""  # `flatten` makes the option, with the command's own formats
    json: Annotated[bool, Option("--json", help="Short for --format json.")] = False
    out: Annotated[
        str | None,
        Option("--out", metavar="FILE", help="Write there; its suffix chooses the format."),
    ] = None
    view: Annotated[
        str,
        Option(metavar="|".join(DRAWERS), parser=one_of("--view", tuple(DRAWERS)),
               autocompletion=complete(*DRAWERS), show_default="table",
               help="Matrices as numbers, shaded cells or dots; or one statement per line, for a "
               "screen reader."),
    ] = ""  # fmt: skip
    digits: number(int, "--digits", "N", 0, 9, "Decimals in tables.") = 2
    full: Annotated[bool, Option("--full", help="Leave nothing out of tables.")] = False
    no_pager: Annotated[
        bool, Option("--no-pager", help="Not through PAGER where a page is longer than the screen.")
    ] = False
    layout: Annotated[
        str,
        Option(
            metavar="rows|columns", parser=one_of("--layout", ("rows", "columns")),
            autocompletion=complete("rows", "columns"),
            help="Queries as rows (papers) or as columns (the animated explanation).",
        ),
    ] = "rows"  # fmt: skip


def _format(name: str) -> Any:
    """The option of a command's formats."""
    known = COMMANDS[name].formats

    def parser(text: Any) -> str:
        return check_format(name, str(text))

    return Annotated[
        str,
        Option(metavar="FORMAT", parser=parser, show_default=known[0],
               autocompletion=complete(*known), help=f"{', '.join(known)}."),
    ]  # fmt: skip


def flatten(command: Callable[..., int | None], name: str) -> Callable[..., int | None]:
    """The same command with each parameter that is an option group spread out for typer."""
    groups: dict[str, type] = {}
    spread: list[inspect.Parameter] = []
    for group, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(parameter.annotation):
            groups[group] = parameter.annotation
            spread.extend(inspect.signature(parameter.annotation).parameters.values())
        else:
            spread.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    lacks = {*COMMANDS[name].lacks, *(() if COMMANDS[name].views else ("view",))}
    spread = [p for p in spread if p.name not in lacks]
    spread = [p.replace(annotation=_format(name)) if p.name == "format" else p for p in spread]
    kind = inspect.Parameter.KEYWORD_ONLY
    spread.append(inspect.Parameter("lang", kind, default="", annotation=Language))
    # What was not typed is None to typer: a parser would be given it as if it were.
    unasked = {p.name for p in spread if p.default == ""}
    spread = [p.replace(default=None) if p.name in unasked else p for p in spread]

    def call(**values: Any) -> int | None:
        for option in sorted(unasked):
            if values[option] == "":
                what = f"--{option.replace('_', '-')} is empty"
                raise UsageError(what, "leave it out, or give it a value")
            values[option] = values[option] or ""
        values.pop("lang")  # the run has looked for it before
        if COMMANDS[name].formats:  # the others compute nothing
            cores.use(parse.threads(CURRENT.get().environ))
        given = {
            group: kind(**{f.name: values.pop(f.name) for f in fields(kind) if f.name in values})
            for group, kind in groups.items()
        }
        return command(**given, **values)

    call.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in spread}
    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    return call
