"""Help in another language than the code's: its words from a table, its lines by columns."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attn_cli.words import LANGUAGES, helped, language

# What typer puts behind the help of an option, and its own words there.
_EXTRA = re.compile(r"(?s)(.*?)(?:  )?(\[(?:env var: |default: |required).*\])?")
_WORDS = re.compile(r"(env var|default): \(?([^;\])]*)\)?|required")
_COLUMN, _GAP, _LEAST = 30, 2, 10


class Helped:
    """A command whose help is in the language that is spoken."""

    def get_help(self, ctx: Any) -> str:
        """Typer's own in English, else the same parts in other words."""
        if language() == LANGUAGES[0]:
            return super().get_help(ctx)  # type: ignore[misc]
        page = _Page(ctx.terminal_width or 78)
        self.format_help(ctx, page)  # type: ignore[attr-defined]
        return "\n".join(page.lines).rstrip("\n")


class _Page:
    """Takes what typer tells its own formatter; characters may be two columns wide."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[str] = []
        self._indent = 0

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        self._write(f"{helped(prefix or 'Usage: ')}{prog} {args}")

    def write_paragraph(self) -> None:
        if self.lines:
            self.lines.append("")

    def write_text(self, text: str) -> None:
        """Paragraphs; one that begins with a `\\b` keeps its lines."""
        for number, paragraph in enumerate(text.split("\n\n")):
            if number:
                self.write_paragraph()
            if paragraph.startswith("\b\n"):
                first, *rest = paragraph.split("\n")[1:]
                self.lines += [" " * self._indent + line for line in (helped(first), *rest)]
            else:
                self._write(helped(" ".join(paragraph.split())))

    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names, which are ASCII, and beside them what they are."""
        column = min(max(len(name) for name, _ in rows), _COLUMN) + _GAP
        for name, text in rows:
            told = [name] if len(name) > column - _GAP else []
            room = max(self.width - column - self._indent, _LEAST)
            beside = _folded(_told(text), room)
            if not told:
                told = [f"{name:<{column}}{beside[0]}"]
                beside = beside[1:]
            self.lines += [
                f"{'':{self._indent}}{line}".rstrip()
                for line in (*told, *(f"{'':{column}}{line}" for line in beside))
            ]

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self.write_paragraph()
        self.lines.append(helped(f"{name}:"))
        with self.indentation():
            yield

    @contextmanager
    def indentation(self) -> Iterator[None]:
        self._indent += _GAP
        try:
            yield
        finally:
            self._indent -= _GAP

    def _write(self, text: str) -> None:
        self.lines += [
            " " * self._indent + line for line in _folded(text, self.width - self._indent)
        ]


def _folded(text: str, room: int) -> list[str]:
    from attn_cli.views.folding import lines  # rich is slow to import

    return lines(text, room) or [""]


def _told(text: str) -> str:
    """The help of an option, and what stands in brackets behind it."""
    own, extra = _EXTRA.fullmatch(text).groups()
    said = helped(own)
    gap = " " * (said[-1:].isascii() and bool(said))
    return said + gap + _WORDS.sub(_word, extra).replace("; ", "；") if extra else said


def _word(found: re.Match) -> str:
    if not found[1]:
        return helped(found[0])
    return f"{helped(f'{found[1]}: ')}{helped(found[2])}"
