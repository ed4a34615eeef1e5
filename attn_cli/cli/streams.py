"""Where a run reads and writes, and what it draws on: handed in at the edge, asked for inside."""

import contextlib
import errno
import io
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TextIO

from attn_cli import files, writing
from attn_cli.errors import ContentError

_WAIT = 1.0  # seconds
_PART = 1 << 16  # bytes: what a pipe holds
# Columns of a page at the least: in fewer, numbers would not stand whole on their lines. A screen
# that has less folds the lines itself, and nothing is lost.
_NARROWEST = 20
# A pager that fails, or a shell's word for one that is not there; what is interrupted has shown.
_NO_PAGER = frozenset(range(1, 128)) - {2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The standard streams of a run (None is a closed one) and its environment."""

    stdin: TextIO | None = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout or io.TextIOWrapper(_Closed()))
    stderr: TextIO | None = field(default_factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def is_fed(self) -> bool:
        """Whether stdin is a pipe, a file or a socket, rather than a terminal or nothing."""
        try:
            mode = os.fstat(self.stdin.fileno()).st_mode
        except (AttributeError, OSError, ValueError):
            return False
        return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)

    def parts(self, waiting: Callable[[], None]) -> Iterator[bytes]:
        """All of stdin as it comes; calls `waiting` if nothing does at first.

        Raises ContentError.
        """
        try:
            handle = self.stdin.fileno()
            if not files.wait(handle, seconds=_WAIT):
                waiting()
            while True:
                while not files.wait(handle):  # it may be one that does not block
                    pass
                part = os.read(handle, _PART)
                if not part:
                    return
                yield part
        except AttributeError:
            hint = "give the prompt as TEXT or --file"
            raise ContentError("standard input is closed", hint) from None
        except (OSError, ValueError) as error:
            raise ContentError(f"cannot read standard input: {files.reason(error)}") from None

    @property
    def is_screen(self) -> bool:
        """Whether stdout is a terminal."""
        return _is_terminal(self.stdout)

    def page(self, data: bytes) -> bool:
        """Shows in PAGER what is longer than the screen, as git does; False where it did not."""
        pager = self.environ.get("PAGER", "less")
        longer = 0 < self.height <= data.count(b"\n")
        if not self.is_screen or not longer or pager in ("", "cat"):
            return False
        import signal
        import subprocess

        environ = {"LESS": "FRX", "LV": "-c", **self.environ}
        try:
            handle = self.stdout.fileno()
            # A shell would complain of one that is not there; it gets what may be its own syntax.
            known = "=" in pager or shutil.which(pager.split()[0], path=environ.get("PATH"))
            shown = subprocess.Popen(
                pager if known else "exit 127", shell=True, env=environ, stdin=subprocess.PIPE,
                stdout=handle,
            )  # fmt: skip
        except (OSError, ValueError, IndexError):
            return False
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pager's own affair
        try:
            with contextlib.suppress(BrokenPipeError):  # it may be left before the end
                shown.communicate(data)
            return shown.wait() not in _NO_PAGER
        finally:
            signal.signal(signal.SIGINT, before)

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
            return max(int(given[:5]), _NARROWEST)
        return max(self._size[0] or 80, _NARROWEST)

    @property
    def height(self) -> int:
        """Lines of the terminal: LINES if given, else what it says; 0 where neither is known."""
        given = self.environ.get("LINES", "")
        known = given.isascii() and given.isdigit() and len(given) < 6
        return int(given) if known else self._size[1]

    @property
    def _size(self) -> tuple[int, int]:
        try:
            return os.get_terminal_size(self.stdout.fileno()) if self.is_screen else (0, 0)
        except OSError:
            return 0, 0


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def write_all(stream: TextIO, data: bytes) -> None:
    """Writes all of `data`, in as many calls as the stream needs. Raises OSError, ValueError.

    A stream without a buffer takes what it can and returns; one that does not block may take
    nothing and has to be waited for. Neither is an error to Python.
    """
    stream.flush()
    try:
        handle = stream.fileno()
    except (OSError, ValueError):  # a stream in memory, or a closed one
        stream.buffer.write(data)
        stream.buffer.flush()
        return
    writing.write_all(handle, data)


class _Closed(io.RawIOBase):
    """Stands in for a stdout that was closed before we started: writing fails, as it should."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError(errno.EBADF, "closed")


CURRENT: ContextVar[Streams] = ContextVar("streams")
