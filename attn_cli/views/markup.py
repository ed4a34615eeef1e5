"""Elements of an SVG, made so that nothing from outside can become markup or a control."""

from xml.sax.saxutils import escape, quoteattr

from attn_cli.views.text import visible

SPACE = "http://www.w3.org/2000/svg"


def text(words: str) -> str:
    """Words as the content of an element."""
    return escape(visible(words))


def element(name: str, /, *content: str, **attributes: object) -> str:
    """An element around what is markup already; attributes, `-` written `_`, that are not empty."""
    given = "".join(
        f" {key.strip('_').replace('_', '-')}={quoteattr(_written(value))}"
        for key, value in attributes.items()
        if value != ""
    )
    inner = "".join(content)
    return f"<{name}{given}>{inner}</{name}>" if inner else f"<{name}{given}/>"


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else visible(str(value))


def document(
    wide: int, high: int, title: str, description: str, style: str, *content: str
) -> bytes:
    """A whole picture of so many pixels, which a screen reader takes for one image."""
    told = ("attn-title", "attn-desc")
    whole = element(
        "svg",
        element("title", text(title), id=told[0]),
        element("desc", text(description), id=told[1]),
        element("style", style),
        *content,
        width=wide, height=high, viewBox=" ".join(map(str, (0, 0, wide, high))), role="img",
        aria_labelledby=" ".join(told), **{"xmlns": SPACE, "xml:space": "preserve"},
    )  # fmt: skip
    return f"{whole}\n".encode("utf-8", "replace")
