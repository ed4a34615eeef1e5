"""Where a run reads and writes, and what it draws on: handed in at the edge, asked for inside."""

import errno
import io
import os
import stat
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The standard streams of a run (None is a closed one) and its environment."""

    stdin: TextIO | None = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout or io.TextIOWrapper(_Closed()))
    stderr: TextIO | None = field(default_factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def is_fed(self) -> bool:
        """Whether stdin is a pipe or a file, rather than a terminal or nothing."""
        try:
            mode = os.fstat(self.stdin.fileno()).st_mode
        except (AttributeError, OSError, ValueError):
            return False
        return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)

    @property
    def is_screen(self) -> bool:
        """Whether stdout is a terminal."""
        return _is_terminal(self.stdout)

    @property
    def is_plain(self) -> bool:
        """Whether the user or the terminal wants no escape bytes."""
        return bool(self.environ.get("NO_COLOR")) or self.environ.get("TERM") in ("dumb", "")

    @property
    def is_live(self) -> bool:
        """Whether stderr is a terminal on which a picture can be drawn anew."""
        return _is_terminal(self.stderr) and not self.is_plain and "TERM" in self.environ

    @property
    def width(self) -> int:
        """Columns to draw in: COLUMNS if given, else the terminal's, else 80."""
        given = self.environ.get("COLUMNS", "")
        if given.isascii() and given.isdigit() and 0 < int(given[:5]) <= 10_000:
            return max(int(given[:5]), 20)
        if self.is_screen:
            try:
                return max(os.get_terminal_size(self.stdout.fileno()).columns or 80, 20)
            except OSError:
                return 80
        return 80


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


class _Closed(io.RawIOBase):
    """Stands in for a stdout that was closed before we started: writing fails, as it should."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(errno.EBADF, "closed")


CURRENT: ContextVar[Streams] = ContextVar("streams")
