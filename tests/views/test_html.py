"""The HTML page as a file: what is in it, and that no text in it can become markup."""

import json
import re
import shutil
import subprocess
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from html_pages import HOSTILE, hostile, page_of, traced

from attn_cli.errors import ContentError
from attn_cli.views import html
from attn_cli.views.formats import Drawing
from attn_cli.views.html import budget, payload
from attn_cli.views.html.embedding import array, embedded
from attn_cli.words import table


class Parts(HTMLParser):
    """The elements of a page, and the text of its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.inside = ("id", "data") in attrs

    def handle_data(self, data):
        self.data += data if self.names and self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


def read(text: str) -> dict:
    return json.loads(Parts(text).data)


def numbers(stored: dict) -> np.ndarray:
    raw = b64decode(stored["data"])
    kind = {"float": "<f4", "half": "<f2"}[stored["type"]]
    return np.frombuffer(raw, kind).reshape(stored["shape"]) * np.float32(stored.get("factor", 1))


def drawing(trace, tokens: int) -> Drawing:
    prompt = replace(trace.prompt, tokens=trace.prompt.tokens[:1] * tokens)
    blocks = tuple(block.address for block in trace.attention)
    heads = {block.stack: block.heads for block in trace.attention}
    return Drawing(trace.model, prompt, blocks, heads, {}, False, False)


def test_the_sample_prompt_of_tiny_is_small():
    assert len(page_of(traced())) <= 400_000


def test_the_page_holds_q_k_v_to_the_last_digit():
    trace = traced()
    for block, stored in zip(trace.attention, read(page_of(trace))["blocks"], strict=True):
        for name in ("q", "k", "v"):
            assert np.array_equal(numbers(stored["arrays"][name]), block.arrays[name])
        assert np.array_equal(numbers(stored["vectors"]["x"]), block.x)


def test_text_of_tokens_never_becomes_markup():
    plain, other = (Parts(page_of(trace)) for trace in (traced(), hostile(traced())))
    assert other.names == plain.names
    assert json.loads(other.data)["sides"]["decoder.self"]["queries"][0] == "</script><scr…"


def test_embedded_json_is_ascii_without_a_character_of_markup():
    value = {"a": [*HOSTILE, "é\u202e\u2028"], "b": float("nan"), "c": np.float32(1.5)}
    found = embedded(value)
    assert not set(b"<>&") & set(found) and found.isascii()
    assert json.loads(found) == {"a": value["a"], "b": None, "c": 1.5}


def test_half_precision_has_three_digits_at_any_size():
    values = np.array([1e9, -3e8, 2e6, 0.0], np.float32)
    found = numbers(array(values, half=True))
    assert np.abs(found - values).max() < 1e9 / 1000
    assert np.isnan(numbers(array(np.array([np.nan, 1.0], np.float32), half=True))[0])


def test_the_triangle_gives_the_lengths_of_head_outputs():
    trace = traced()
    block = trace.attention[0]
    stored = numbers(payload._out(block.w_o, "length"))
    for head, packed in enumerate(stored):
        width = block.w_o.shape[1]
        lower = np.zeros((width, width))
        lower[np.tril_indices(width)] = packed
        found = np.linalg.norm(block.z[head] @ lower, axis=1)
        assert np.abs(found - np.linalg.norm(block.head_output[head], axis=1)).max() < 1e-5


def test_a_map_of_zeros_has_lengths_of_zero():
    stored = numbers(payload._out(np.zeros((1, 3, 2), np.float32), "length"))
    assert np.abs(stored).max() < 1e-7


def test_every_sentence_of_the_page_is_there():
    assert html.keys() <= table("en").keys()
    assert {key for key in table("en") if key.startswith("html.step_")} <= html.keys()


def test_more_than_a_page_holds_is_refused_with_what_fits():
    trace = traced()
    assert html.needed(drawing(trace, 6)) >= {"q", "w_o", "visible"}
    with pytest.raises(ContentError, match=r"4,096 tokens .* a page of [\d.,]+ MB") as refused:
        html.needed(drawing(trace, 4096))
    fits = int(re.search(r"these ([\d,]+) tokens", refused.value.hint)[1].replace(",", ""))
    assert html.needed(drawing(trace, fits))
    with pytest.raises(ContentError):
        html.needed(drawing(trace, fits + 1))


def test_what_is_reckoned_is_what_a_page_has(monkeypatch):
    monkeypatch.setattr(payload, "plan", lambda trace: "length")
    trace = traced()
    reckoned = budget.sizes(drawing(trace, 6)._replace(parameters=True))[1]
    assert abs(reckoned - len(page_of(trace))) < 0.2 * reckoned


def test_a_refusal_names_no_count_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(budget, "BYTES", 1)
    with pytest.raises(ContentError) as refused:
        html.needed(drawing(traced(), 6))
    assert refused.value.hint == "--layer and --head choose fewer"


def test_the_modules_are_javascript(tmp_path):
    path = tmp_path / "page.js"
    path.write_text(html.script())
    assert "import " not in re.sub(r"//.*|/\*[\s\S]*?\*/", "", html.script())
    if shutil.which("node"):
        subprocess.run(["node", "--check", path], check=True)


@pytest.mark.parametrize("model", ["tiny", "tiny-encoder", "tiny-translator"])
def test_no_sentence_tells_of_what_only_a_terminal_can(model):
    data = read(page_of(traced(model=model, stack="all", kind="all")))
    told = [block["told"] for block in data["blocks"]] + data["next"] + data["opening"]
    assert "--" not in json.dumps(told, ensure_ascii=False).replace("—", "")


def test_parameters_are_there_where_they_leave_the_page_small_or_are_asked_for(monkeypatch):
    plain = drawing(traced(), 6)
    assert {"w_q", "key_x", "q_position"} <= html.needed(plain)
    monkeypatch.setattr(budget, "_COMFORTABLE", budget.sizes(plain)[1] + 1000)
    assert "w_q" not in html.needed(plain)
    assert "w_q" in html.needed(plain._replace(parameters=True))
    monkeypatch.setattr(budget, "BYTES", budget.sizes(plain)[1] + 1000)
    with pytest.raises(ContentError):
        html.needed(plain._replace(parameters=True))


def test_masks_are_stored_once():
    assert len(read(page_of(traced()))["masks"]) == 1
    translator = traced(model="tiny-translator", stack="all", kind="all")
    assert len(read(page_of(translator))["masks"]) == 3
