"""Where the process starts: signals first, so that one that comes during the imports is silent."""

import gc
import os
import signal


def main() -> None:
    """The console script: `attn_cli.cli.app.main`, and quiet ends for what comes before and after.

    While modules are imported nothing is open that would have to be closed, so that a signal may
    end the process at once; an exception could be caught, or remarked on, by what is imported.
    """
    # The process ends before a collection could pay for itself; the imports alone cause many.
    gc.disable()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    # A shell's background job ignores SIGINT and goes on doing so.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from attn_cli.cli import app
    from attn_cli.errors import Terminated

    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app.main()
    except KeyboardInterrupt:
        os._exit(130)
    except Terminated:
        os._exit(143)
