"""`--format svg` of the commands: pictures of weights and masks, and screens of other pages."""

import re
import xml.etree.ElementTree as ET

import pytest
from made_folders import made_folder

from attn_cli import session

PROMPT = "the greatest thinker in China is"
TITLE = "{http://www.w3.org/2000/svg}title"
GROUP = "{http://www.w3.org/2000/svg}g"


def heads_of(result):
    """The titles of the squares, and those of the cells of each."""
    assert result.code == 0, result
    found = {}
    for group in ET.fromstring(result.out).iter(GROUP):
        if (title := group.find(TITLE)) is not None:
            found[title.text] = [cell.text for cell in group.iter(TITLE)][1:]
    return found


def test_the_whole_model_is_one_picture_in_the_order_of_layers_and_heads(attn):
    found = heads_of(attn("heads", PROMPT, "--layer", "all", "--format", "svg", "--digits", 4))
    assert list(found) == [f"{layer}.{head}" for layer in range(2) for head in range(4)]
    trace = session.trace(PROMPT, layer="all", head="all")
    for block in trace.attention:
        for head in block.heads:
            said = [c.rpartition(" ")[2] for c in found[f"{block.layer}.{head}"]]
            wanted = block.weights[head][block.visible]
            shown = [float(n) for n in said if n != "masked"]
            assert shown == pytest.approx(wanted.tolist(), abs=6e-5)


def test_chosen_layers_and_heads_and_tokens(attn, tmp_path):
    out = tmp_path / "x.svg"
    assert attn("heads", PROMPT, "--layer", 1, "--head", "2,0", "--out", out).out == b""
    assert ">1.2<" in out.read_text() and "layer 1" in out.read_text()
    found = heads_of(attn("trace", PROMPT, "--query", "is", "--key", "the,in", "--out", "-",
                          "--format", "svg"))  # fmt: skip
    assert found == {"head 0": ["is → the 0.015", "is → in 0.006"]}


def test_a_what_if_is_said_in_the_picture(attn):
    for command in ("trace", "heads", "mask"):
        typed = (command, PROMPT, "--mask", "block:is:China", "--format", "svg")
        assert "what-if: --mask block:is:China" in attn(*typed).text
        assert "what-if:" not in attn(command, PROMPT, "--format", "svg").text


def test_the_mask_before_and_after(attn):
    result = attn("mask", PROMPT, "--mask", "block:is:China", "--format", "svg")
    found = heads_of(result)
    assert "is → China sees" in found["before"] and "is → China masked" in found["after"]
    assert "1 of 36 cells hidden" in result.text and ">0.93<" in result.text


def test_a_first_token_that_is_split_off_has_no_column(attn):
    result = attn("heads", PROMPT, "--without-first", "--format", "svg")
    assert "is split off as a key" in result.text
    assert not any("→ the " in cell for cell in heads_of(result)["0.0"])
    assert "greatest → greatest 1.00" in heads_of(result)["0.0"]


def test_sinks_stand_beside_the_keys(attn, tmp_path):
    folder = made_folder(tmp_path / "sunk", "gpt_oss-a")
    typed = ("--ids", "5,6,7,9", "-m", folder, "--format", "svg")
    share = session.trace(ids=(5, 6, 7, 9), model=session.load(str(folder))).attention[0].sink_share
    for more in ((), ("--query", "3")):
        result = attn("trace", *typed, *more)
        (found,) = heads_of(result).values()
        number = next(c for c in found if c.startswith("<9> → (sink)")).rpartition(" ")[2]
        assert float(number) == pytest.approx(float(share[0, 3]), abs=0.006)
    assert "(sink)" in attn("heads", *typed).text


def test_every_attention_of_a_translator(attn):
    typed = ("-m", "tiny-translator", "the man is old", "--target", "der", "--layer", "0")
    result = attn("heads", *typed, "--stack", "all", "--kind", "all", "--format", "svg")
    kinds = ("encoder", "decoder", "cross")
    assert list(heads_of(result)) == [f"{kind} 0.{head}" for kind in kinds for head in range(4)]


@pytest.mark.parametrize("command", ["trace", "heads", "mask"])
@pytest.mark.parametrize("layer", ["0", "all"])
def test_a_saved_document_gives_the_same_picture(attn, command, layer):
    typed = (command, PROMPT, "--layer", layer if command != "mask" else "1")
    saved = attn(*typed, "--json").out
    shown = attn("show", "--format", "svg", stdin=saved)
    direct = attn(*typed, "--format", "svg")
    assert heads_of(shown) == heads_of(direct)
    assert command == "mask" or shown.out == direct.out


def test_a_saved_part_of_a_trace_gives_its_own_picture(attn):
    typed = ("trace", PROMPT, "--query", "is", "--key", "the,in")
    assert attn("show", "--format", "svg", stdin=attn(*typed, "--json").out).out == (
        attn(*typed, "--format", "svg").out
    )
    without = attn("trace", PROMPT, "--step", 3, "--json").out
    said = attn("show", "--format", "svg", stdin=without)
    assert said.code == 1 and "hint: --view table draws its page as a screen" in said.said
    assert attn("show", "--format", "svg", "--view", "table", stdin=without).code == 0


def test_a_view_that_is_asked_for_is_a_screen(attn):
    plain = attn("trace", PROMPT, "--step", 5, columns=80).text
    screen = attn("trace", PROMPT, "--step", 5, "--view", "table", "--format", "svg").out
    parts = ["".join(t.itertext()) for t in ET.fromstring(screen).iter(f"{TITLE[:-5]}text")]
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", plain)
    assert attn("trace", PROMPT, "--step", 5, "--view", "table").text == plain


def test_other_pages_are_screens(attn):
    for typed in (("sample", PROMPT, "--seed", 1), ("lens", PROMPT), ("cost",)):
        result = attn(*typed, "--format", "svg")
        assert result.code == 0 and "#000000" in result.text, typed
        assert ET.fromstring(result.out).get("role") == "img"


def test_options_without_effect_are_told_and_what_cannot_be_is_refused(attn):
    idle = ("--step", 3, "--after", "--no-next", "--top", 3, "--parameters")
    said = attn("trace", PROMPT, *idle, "--full", "--format", "svg").said
    named = set(re.findall(r"note: (--[\w-]+) changes nothing here", said))
    assert named == {"--full", *(word for word in idle if isinstance(word, str))}
    refused = (
        ("trace", "--each", "line"), ("heads", PROMPT, "--sort", "first"),
        ("heads", "--prove", "--layout", "columns"), ("train", "c", "--out", "m"),
    )  # fmt: skip
    for typed in refused:
        assert attn(*typed, "--format", "svg").code == 2, typed


def test_a_picture_too_large_is_refused_before_anything_is_computed(attn, monkeypatch):
    monkeypatch.setattr("attn_cli.views.panels.MOST_BYTES", 30_000)
    monkeypatch.setattr("attn_cli.session.steps", lambda *_: 1 / 0)
    text = "the king is a man " * 12
    for command in ("trace", "heads"):
        typed = (command, text, "--layer", "all", "--head", "all", "--format", "svg")
        result = attn(*typed)
        assert result.code == 1 and "the picture would take up to 37.5 KiB" in result.said
        assert "hint: fewer layers, heads, queries or keys" in result.said
