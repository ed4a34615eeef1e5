"""attn: what attention computes, number by number.

    import attn_cli
    t = attn_cli.trace("the greatest thinker in China is", model="tiny")
    t.attention[0].weights  # layer 0, axes (head, query, key)

`trace` and `load` open models; `heads`, `mask`, `sample`, `loss`, `lens` and `compare` are the
analyses behind the commands of those names; `ask` is what `trace` is asked, and `compare` takes two
of it. ATTN_THREADS in the environment says how many threads compute.
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Imported on first use, so that `attn --version` needs neither numpy nor rich.
_FRONT_DOOR = {
    "trace": "attn_cli.session",
    "load": "attn_cli.session",
    "heads": "attn_cli.analysis.heads",
    "mask": "attn_cli.analysis.mask",
    "sample": "attn_cli.analysis.sample",
    "loss": "attn_cli.analysis.loss",
    "lens": "attn_cli.analysis.lens",
    "ask": "attn_cli.session",
    "compare": "attn_cli.analysis.compare",
}
__all__ = [
    "__version__", "ask", "compare", "heads", "lens", "load", "loss", "mask", "sample", "trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _FRONT_DOOR:
        from attn_cli import parse
        from attn_cli.maths import cores

        cores.before_numpy()
        cores.use(parse.threads(os.environ))
        return getattr(import_module(_FRONT_DOOR[name]), name)
    raise AttributeError(f"module 'attn_cli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
