"""Where the process starts: signals first, so that one that comes during the imports is silent."""

import contextlib
import gc
import os
import sys

from attn_cli import signals
from attn_cli.errors import Terminated


def main() -> None:
    """The console script: `attn_cli.cli.app.main`, and quiet ends for what comes before and after.

    While modules are imported nothing is open that would have to be closed, so that a signal may
    end the process at once; an exception could be caught, or remarked on, by what is imported.
    """
    # The process ends before a collection could pay for itself; the imports alone cause many.
    gc.disable()
    signals.end_at_once()
    _read_names_as_utf8()
    _fill_standard_streams()
    from attn_cli.cli import app

    try:
        app.main()
    except KeyboardInterrupt:
        signals.leave(130)
    except Terminated as problem:
        signals.leave(problem.exit_code)


def _read_names_as_utf8() -> None:
    """Starts anew where Python was told to take texts and file names for ASCII (`LC_ALL=C` with
    `PYTHONUTF8=0`): it could neither read nor open what has other letters."""
    if sys.getfilesystemencoding() == "ascii" and sys.executable:
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _fill_standard_streams() -> None:
    """Where one is closed, no file opened later may get its number: libraries write to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
