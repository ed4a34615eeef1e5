"""`attn models`: what can be opened, and what is inside one checkpoint."""

from functools import partial
from typing import Annotated

from typer import Argument

from attn_cli.cli import output
from attn_cli.cli.options import (
    Adapter,
    IgnoreConfig,
    OutputOptions,
    Quiet,
    complete_models,
    opened_model,
)
from attn_cli.errors import UsageError

EXAMPLES = ("attn models", "attn models tiny", "attn models ./my-model --json | jq .result.parts")


def command(
    out: OutputOptions,
    name: Annotated[
        str | None,
        Argument(
            metavar="[MODEL]",
            help="A name or a path.",
            show_default=False,
            autocompletion=complete_models,
        ),
    ] = None,
    adapter: Adapter = None,
    ignore_config: IgnoreConfig = (),
    quiet: Quiet = False,
) -> int:
    """What can be opened on this machine; with MODEL, what is inside that checkpoint."""
    from attn_cli.notes import model_notes
    from attn_cli.opening.listing import contents, listing
    from attn_cli.views import models as view

    if name is None and adapter is not None:
        raise UsageError("--adapter goes with a MODEL", "attn models MODEL --adapter DIR")
    if name is None:
        found = listing()
        result = output.Result(partial(view.listing, found), found)
    else:
        model = opened_model(name, adapter, ignore_config)
        inside = contents(model)
        page = partial(view.contents, model.facts, inside)
        settings, said = {"ignore_config": list(ignore_config)}, model_notes(model)
        result = output.Result(page, inside, model.facts, None, settings, said)
    return output.deliver("models", out, [result], quiet=quiet)
