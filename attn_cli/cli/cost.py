"""`attn cost`: what a context length costs."""

from functools import partial
from typing import Annotated

from typer import Context, Option

from attn_cli import parse, vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import (
    MOST,
    Adapter,
    IgnoreConfig,
    ModelName,
    OutputOptions,
    Quiet,
    opened_model,
)
from attn_cli.errors import UsageError, shorten

EXAMPLES = (
    "attn cost --preset gpt3",
    "attn cost --model smollm2 --context 2048,8192,32768",
    "attn cost --preset llama3-8b --json | jq '.result.contexts[] | {tokens, cache_bfloat16}'",
)


def _presets(incomplete: str) -> list[str]:
    from attn_cli.opening.presets import names

    return [name for name in names() if name.startswith(incomplete)]


def _lengths(text: str) -> tuple[int, ...]:
    """Context lengths with commas between them, each once. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        # As of 2,048, whose comma is meant to part thousands.
        if (len(part) == 3 and part.startswith("0")) or not part:
            what = f"--context {shorten(text)} is no list of lengths"
            raise UsageError(what, "whole numbers with a comma between them: 2048,8192")
    return tuple(dict.fromkeys(parse.integer(part, "--context", 1, MOST) for part in parts))


def command(
    ctx: Context,
    out: OutputOptions,
    model: ModelName = vocabulary.DEFAULT_MODEL,
    preset: Annotated[
        str | None,
        Option(metavar="NAME", autocompletion=_presets,
               help="A published model by its shapes instead: gpt2, gpt3, llama3-8b, …"),
    ] = None,
    context: Annotated[
        str | None,
        Option(metavar="N,N,…", show_default="doublings, up to what the model was trained on",
               help="Numbers of tokens."),
    ] = None,
    adapter: Adapter = None,
    ignore_config: IgnoreConfig = (),
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """What a context length costs: parameters, cells of the mask, memory, operations.

    It follows from a model's shapes: nothing is computed, and no weight is read.
    """
    from attn_cli.analysis.cost import cost, cost_notes
    from attn_cli.opening.load import preset as published
    from attn_cli.views import cost as view

    lengths = () if context is None else _lengths(context)
    if preset is None:
        opened = opened_model(model, adapter, ignore_config)
    elif ctx.get_parameter_source("model").name == "COMMANDLINE" or ignore_config or adapter:
        raise UsageError("--preset stands for a model of its own", "leave out --model")
    else:
        opened = published(preset)
    found = cost(opened, lengths)
    page = partial(view.page, opened.facts, found)
    settings = {"preset": preset, "context": list(lengths), "ignore_config": list(ignore_config)}
    said = cost_notes(opened, found, preset)
    result = output.Result(page, found, opened.facts, None, settings, said)
    return output.deliver("cost", out, [result], quiet=quiet)
