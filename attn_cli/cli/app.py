"""The `attn` command: the group of commands, and the boundary where errors become messages."""

import io
import sys
import warnings
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from attn_cli import __version__, machine, signals
from attn_cli.cli import output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.help import Helped
from attn_cli.cli.language import Language, chosen
from attn_cli.cli.streams import CURRENT, Streams
from attn_cli.errors import AttnError, ContentError, Terminated, UsageError, shorten
from attn_cli.files import begin_inputs
from attn_cli.maths import cores
from attn_cli.words import LANGUAGES, speaking


class Commands(Helped, TyperGroup):
    """The group of commands; help lists them from the table, without importing one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word not in COMMANDS and not ctx.resilient_parsing and not word.startswith("-"):
            from difflib import get_close_matches  # for errors alone

            from attn_cli.cli.typed import quoted

            close = get_close_matches(word, COMMANDS, 1)
            words = [arg for arg in args if not arg.startswith("-")]
            known = f"{quoted('trace', ' '.join(words))}; commands: {', '.join(COMMANDS)}"
            hint = f"did you mean attn {close[0]}?" if close else known
            raise UsageError(f"no command {shorten(word)!r}", hint)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return build(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, known.help) for name, known in COMMANDS.items()])


def build(name: str) -> Any:
    """The typer command of one module: its function `command`, its docstring, its EXAMPLE."""
    from attn_cli.cli.options import flatten
    from attn_cli.cli.typed import Single

    machine.check_start()
    module = import_module(f"attn_cli.cli.{name}")
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES)
    single.command(name, cls=Single, epilog=epilog)(flatten(module.command, name))
    command = typer.main.get_command(single)
    command.examples = module.EXAMPLES
    for option in command.params:
        if option.envvar:  # typer would ask the process
            option.value_from_envvar = partial(_of_environment, option)
    return command


def _of_environment(option: Any, _: Any) -> str | list[str] | None:
    """The value of an option that was not typed; a single one where it can be repeated."""
    value = CURRENT.get().environ.get(option.envvar) or None
    return [value] if value and option.multiple else value


app = typer.Typer(
    cls=Commands, rich_markup_mode=None, invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


@app.callback(epilog='Start with:  attn trace "the greatest thinker in China is"')
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    lang: Language = None,
) -> None:
    """Shows what attention computes, number by number."""
    if version:
        output.emit(f"attn {__version__}\n".encode())
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """The console script. Exits 0; 1 for content, 2 for what was typed, 130, 143, 129 or 141."""
    # A library's remarks on numbers that overflow are not for the user; notes count them.
    warnings.simplefilter("ignore")
    signals.listen()
    cores.before_numpy()
    code = run(sys.argv[1:])
    # Everything is flushed; taking the interpreter apart would cost 10 ms and could only complain.
    signals.leave(code)


def run(arguments: list[str], streams: Streams | None = None) -> int:
    """One run of the command line; returns the exit code. Every error ends here as a message.

    Without `streams`, on those of the process.
    """
    streams = streams or Streams()
    CURRENT.set(streams)
    quiet = "--quiet" in arguments
    begin_inputs(lambda: streams.parts(lambda: output.note("note.waiting", quiet=quiet)))
    spoken = chosen(arguments, streams.environ)
    if arguments[:1] == ["help"]:
        words = (word for word in arguments[1:] if word[:1] != "-" and word not in LANGUAGES)
        arguments = [*list(words)[:1], "--help"]
    try:
        with speaking(spoken):
            return _by_typer(arguments, streams)
    except AttnError as problem:
        return output.error(problem)
    except TyperException as problem:
        return output.error(_from_typer(problem))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Terminated as problem:
        return problem.exit_code
    except MemoryError:
        return output.error(machine.run_out())
    except BrokenPipeError:
        return output.BROKEN_PIPE
    except OSError as problem:
        return output.error(ContentError(f"cannot go on: {output.reason(problem)}"))
    except Exception as problem:
        return output.error(_from_bug(problem))


def _by_typer(arguments: list[str], streams: Streams) -> int:
    """Runs what was typed. What typer itself prints is written as a whole, like any result."""
    printed = io.StringIO()
    # What typer uses where it is not told.
    width = max(min(streams.width, 80) - 2, 50)
    try:
        with redirect_stdout(printed):
            result = typer.main.get_command(app).main(
                arguments, prog_name="attn", standalone_mode=False, terminal_width=width
            )
    except SystemExit as leaving:  # how typer ends a completion, and where a reader left
        if isinstance(leaving.__context__, BrokenPipeError):
            raise leaving.__context__ from None
        result = leaving.code
    if printed.getvalue():
        output.emit(printed.getvalue().encode())
    return result if isinstance(result, int) else 0


def _from_typer(problem: TyperException) -> AttnError:
    text = problem.format_message() if hasattr(problem, "format_message") else str(problem)
    context = getattr(problem, "ctx", None)
    examples = getattr(context and context.command, "examples", ())
    missing = examples and text.startswith("Missing")
    command = context.command_path if context else "attn"
    hint = examples[0] if missing else f"{command} --help"
    return UsageError(text[:1].lower() + text[1:].replace("\n", " "), hint)


def _from_bug(problem: Exception) -> AttnError:
    if CURRENT.get().environ.get("ATTN_DEBUG"):
        raise problem
    return AttnError(
        "this should not have happened: a fault in attn itself",
        "ATTN_DEBUG=1 shows where; please report it with the command you typed",
    )
