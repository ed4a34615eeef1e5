"""A trace as one HTML file that computes the attention of any head anew while it is changed.

The page is `page.html`, `page.css` and the modules of `MODULES`, put together; what it tells of is
`payload.data`, as JSON in the page.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.records import Trace
from attn_cli.views.formats import Drawing
from attn_cli.views.html import budget, payload
from attn_cli.views.html.embedding import embedded
from attn_cli.words import grouped, language, sentence, table

# In the order in which they need one another.
MODULES = (
    "numbers", "attention", "words", "state", "dom", "grid", "why", "made", "steps", "ending",
    "main",
)  # fmt: skip
_IMPORT = re.compile(r'^import (?:\* as )?(\w+|\{[^}]*\})\s+from "\./(\w+)\.mjs";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:function|class|const) (\w+))", re.MULTILINE)
# Without these in a saved trace there is no page of it.
NEEDED = frozenset({"x", "q", "k", "v", "scores", "scaled", "visible", "weights", "z", "w_o"})
# A sentence's key, or how those of several begin.
_KEYS = re.compile(r'"([a-z_]+\.[a-z0-9_]+)"|`([a-z]+\.[a-z0-9_]+_)\$\{')


def needed(drawing: Drawing) -> frozenset[str]:
    """The arrays that the page takes. Raises ContentError for what would be too large."""
    tokens, size = budget.sizes(drawing)
    if tokens <= budget.TOKENS and size <= budget.BYTES:
        return budget.SHOWN_ALWAYS | (budget.LEARNED if budget.explains(drawing) else frozenset())
    counted = grouped(tokens, "page.tokens_one", "page.tokens_many")
    words = {"tokens": counted, "size": budget.megabytes(size)}
    most = {"most": budget.megabytes(budget.BYTES), "most_tokens": f"{budget.TOKENS:,}"}
    fit = budget.fitting(drawing)
    hint = sentence("html.fits", tokens=f"{fit:,}") if fit else sentence("html.fits_none")
    raise ContentError(sentence("html.too_large", **words, **most), hint)


def render(
    trace: Trace, keys: Mapping[tuple[str, str], tuple[int, ...]] = MappingProxyType({})
) -> Iterator[bytes]:
    """The page in pieces; of an attention (stack, kind) it shows these `keys`, or all, and computes
    from all."""
    page = file("page.html").replace("<!-- noscript -->", sentence("html.noscript"), 1)
    page = page.replace("/* style */", file("page.css"), 1)
    yield from whole(page, {**payload.data(trace, keys), "words": _sentences()}, script())


def whole(page: str, data: Any, script: str) -> Iterator[bytes]:
    """A page in pieces: its `data` and its script stand where comments say so."""
    page = page.replace("<!-- head -->\n", head(), 1)
    before, between, after = re.split(r"<!-- (?:data|script) -->\n", page)
    yield before.replace('lang="en"', f'lang="{language()}"', 1).encode()
    yield b'<script id="data" type="application/json">'
    yield embedded(data)
    yield f"</script>{between}<script>\n".encode()
    yield f'"use strict";\n{script}'.encode()
    yield f"</script>\n{after}".encode()


@cache
def script(modules: tuple[str, ...] = MODULES) -> str:
    """The modules as one script: each a function's result, which those after it take names from."""
    return "\n".join(map(_module, modules))


def _module(name: str) -> str:
    source = _IMPORT.sub(r"const \1 = \2_;", file(f"{name}.mjs"))
    exports = ", ".join(_EXPORT.findall(source))
    return f"const {name}_ = (() => {{\n{_EXPORT.sub('', source)}return {{ {exports} }};\n}})();"


def keys() -> frozenset[str]:
    """The sentences that the page names."""
    named = _KEYS.findall(script() + file("page.html"))
    starts = tuple(start for _, start in named if start)
    return frozenset(key for key, _ in named if key) | {
        key for key in table(language()) if starts and key.startswith(starts)
    }


def _sentences() -> dict[str, str]:
    """The page's sentences, with their `{names}`."""
    known = table(language())
    return {key: known[key] for key in sorted(keys() & known.keys())}


def head() -> str:
    """What every page begins with: it may ask for nothing, and fits a phone."""
    return file("head.html")


def file(name: str) -> str:
    """One of the files that pages are put together from."""
    return files(__package__).joinpath(name).read_text("utf-8")
