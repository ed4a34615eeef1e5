"""How large HTML pages are, how long they take to make, and when a browser has drawn them.

Each page is opened beside an empty one, which says what the browser itself takes. From the root:
`PYTHONPATH=$PWD:tests python tests/benchmarks/pages.py [--rounds N] [MODEL…]`.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import chromium

from attn_cli import session, vocabulary
from attn_cli.views import html
from attn_cli.views.html.budget import LEARNED, SHOWN_ALWAYS

_LONG = {"smollm2": 64}  # tokens of models that get more than the sample prompt
_DRAWN = [("until", "globalThis.drawnAt"), ("read", "globalThis.drawnAt"),
          ("read", "document.querySelectorAll('*').length")]  # fmt: skip
_EMPTY = "<!DOCTYPE html><title>empty</title><p>empty</p>"


def made(model: str, folder: Path) -> tuple[Path, float]:
    """A model's page of all layers and heads, and the seconds that it took after the trace."""
    long = _LONG.get(model)
    small = frozenset() if long else LEARNED
    trace = session.trace(
        None if long else vocabulary.SAMPLE_PROMPT, ids=range(5, 5 + long) if long else None,
        model=model, layer="all", head="all", arrays=SHOWN_ALWAYS | small, ending=True,
    )  # fmt: skip
    path, begun = folder / f"{model}.html", time.perf_counter()
    path.write_bytes(b"".join(html.render(trace)))
    return path, time.perf_counter() - begun


def main() -> None:
    """Prints a line for each model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=["tiny"])
    parser.add_argument("--rounds", type=int, default=11)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, chromium.browser() as browser:
        folder = Path(name)
        empty = folder / "empty.html"
        empty.write_text(_EMPTY)
        for model in asked.models:
            path, seconds = made(model, folder)
            times: dict[Path, list[float]] = {empty: [], path: []}
            elements = 0
            for _ in range(asked.rounds):
                for page, found in times.items():
                    drawn, elements = browser.open(page, *_DRAWN)
                    found.append(drawn)
            none, own = (statistics.median(found) for found in times.values())
            print(
                f"{model}: {path.stat().st_size:,} bytes, made in {seconds:.2f} s, drawn after "
                f"{own:.0f} ms (an empty page: {none:.0f} ms), {elements:,} elements"
            )


if __name__ == "__main__":
    main()
