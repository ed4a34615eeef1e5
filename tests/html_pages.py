"""Traces as HTML pages, for tests."""

from dataclasses import replace

from attn_cli import session, vocabulary
from attn_cli.records import Trace
from attn_cli.views import html
from attn_cli.views.html import budget

ARRAYS = budget.SHOWN_ALWAYS | budget.LEARNED
HOSTILE = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\u202eabc", "<!--",
    "&lt;`b`", "a\x1b[31m\x00",
)  # fmt: skip


_TRACES: dict[str, Trace] = {}


def traced(text: str = vocabulary.SAMPLE_PROMPT, **options) -> Trace:
    """A trace with all that a page takes, computed once."""
    text = None if "ids" in options or "prompt" in options else text
    asked = repr((text, sorted(options.items())))
    if asked not in _TRACES:
        _TRACES[asked] = session.trace(text, arrays=ARRAYS, ending=True, **options)
    return _TRACES[asked]


def page_of(trace: Trace, keys: dict | None = None) -> str:
    return b"".join(html.render(trace, keys or {})).decode()


def hostile(trace: Trace) -> Trace:
    """The same with tokens that are markup, script and control characters."""
    tokens = tuple(
        replace(token, text=text, bytes=b"")
        for token, text in zip(trace.prompt.tokens, HOSTILE, strict=True)
    )
    return replace(trace, prompt=replace(trace.prompt, tokens=tokens))
