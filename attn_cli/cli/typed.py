"""What was typed after a command's name, looked at before typer reads it.

Typer knows no prompts: its errors would send people who left out quotes to the list of options.
"""

import re
import shlex
from typing import Any

from typer.core import TyperCommand

from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.help import Helped
from attn_cli.errors import UsageError, shorten, some

_LONGEST = 200  # characters of a prompt that a hint can repeat


class Single(Helped, TyperCommand):
    """One command, with its `examples`."""

    examples: tuple[str, ...] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Typer's own, after a look at what it would not explain. Raises UsageError."""
        if not ctx.resilient_parsing and not {*ctx.help_option_names} & {*args}:
            self._check(args)
        return super().parse_args(ctx, args)

    def _check(self, args: list[str]) -> None:
        words = self._words(args)
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        if len(words) <= len(arguments) or any(param.nargs < 0 for param in arguments):
            return
        if arguments and arguments[0].name == "text":
            rest = [arg for n, arg in enumerate(args) if n not in words and arg != "--"]
            text, count = " ".join(args[n] for n in words), len(words)
            one = f"the prompt is {count} words, not one argument: it needs quotes"
            two = f"{count} words are not two prompts: a prompt of several words needs quotes"
            if len(arguments) > 1:
                rest = ['"OTHER TEXT"', *map(shlex.quote, rest)]
                raise UsageError(two, f"{quoted(self.name, text)} {' '.join(rest)}")
            raise UsageError(one, quoted(self.name, text, rest))
        extra = args[words[len(arguments)]]
        raise UsageError(
            f"unexpected extra argument {shorten(extra)!r}", f"attn {self.name} --help"
        )

    def _words(self, args: list[str]) -> list[int]:
        """The places of what is neither an option nor its value."""
        options = {name: param for param in self.params for name in param.opts}
        words: list[int] = []
        value = ""  # the option whose value comes next
        for n, arg in enumerate(args):
            if value and (arg in options or arg == "--"):
                break
            if value:
                value = ""
            elif arg == "--":
                return [*words, *range(n + 1, len(args))]
            elif arg == "-" or not arg.startswith("-"):
                words.append(n)
            else:
                name, equals, _ = arg.partition("=")
                known = options.get(name) or options.get(arg[:2])
                if known is None:
                    raise self._unknown(arg, name, list(options))
                value = name if not (known.is_flag or equals) and name in options else ""
        if value:
            raise self._without_value(value, options[value])
        return words

    def _unknown(self, arg: str, name: str, options: list[str]) -> UsageError:
        from difflib import get_close_matches  # for errors alone

        has = [other for other in COMMANDS if other != self.name and _has(other, name)]
        if has:
            lacks = name[2:].replace("-", "_") in COMMANDS[self.name or ""].lacks
            idle = f" (it would change nothing in attn {self.name})" if lacks else ""
            return UsageError(f"no such option: {name}{idle}", f"it belongs to {some(has)}")
        takes_text = any(param.name == "text" for param in self.params)
        close = get_close_matches(name, options, 1) if name.startswith("--") else []
        if takes_text and not re.fullmatch(r"--[A-Za-z][A-Za-z-]*(=.*)?|-[A-Za-z]", arg):
            hint = f"a prompt that begins with a dash comes after --: {quoted(self.name, arg)}"
        else:
            hint = f"did you mean {close[0]}?" if close else f"attn {self.name} --help"
        return UsageError(f"no such option: {shorten(name)}", hint)

    def _without_value(self, name: str, option: Any) -> UsageError:
        shown = [line for line in self.examples if "|" not in line] or [f"attn {self.name}"]
        has = re.compile(rf"(^| )({'|'.join(option.opts)})[ =]")
        example = next((line for line in shown if has.search(line)), None)
        means = option.help[:1].lower() + option.help[1:].removesuffix(" Repeatable.").rstrip(".")
        return UsageError(
            f"{name} needs a value, {option.metavar}: {means}",
            example or f"{shown[0]} {name} {option.metavar}",
        )


def _has(command: str, option: str) -> bool:
    """Whether another command has an option."""
    from attn_cli.cli.app import build

    return any(option in param.opts for param in build(command).params)


def quoted(command: str | None, text: str, rest: list[str] | None = None) -> str:
    """A command line whose prompt is one argument."""
    text = "TEXT" if len(text) > _LONGEST else text
    plain = not re.search(r'["$`\\!\n]', text)
    shown = f'"{text}"' if plain else shlex.quote(text)
    others = f" {shlex.join(rest)}" if rest else ""
    if text.startswith("-"):
        return f"attn {command}{others} -- {shown}"
    return f"attn {command} {shown}{others}"
