"""`attn trace --format html`: what is typed, and what is refused."""

import re


def test_the_suffix_chooses_the_page_with_every_layer_and_head(attn, tmp_path):
    path = tmp_path / "page.html"
    assert attn("trace", "the king", "--out", str(path)).code == 0
    text = path.read_text()
    assert text.startswith("<!DOCTYPE html>") and text.count('"heads":[0,1,2,3]') == 2
    one = attn("trace", "the king", "--format", "html", "--layer", "1", "--head", "2").text
    assert re.findall(r'"layer":(\d+),"name":"[^"]*","heads":\[([\d,]+)\]', one) == [("1", "2")]


def test_chosen_queries_are_the_rows_and_chosen_keys_the_columns(attn):
    found = attn("trace", "the king is", "--format", "html", "--query", "king,is", "--key", "is,0")
    assert found.said == "" and found.text.count('"rows":[1,2]') == 2
    assert '"shown":[2,0]' in found.text
    assert '"shown":[0,1,2]' in attn("trace", "the king is", "--format", "html").text


def test_too_many_tokens_are_refused_before_anything_is_computed(attn, golden_path):
    model = ("--model", str(golden_path / "llama-plain"), "--force-context")
    found = attn("trace", "--ids", ",".join(["5"] * 4096), *model, "--format", "html")
    assert (found.code, found.out) == (1, b"")
    assert re.search(r"4,096 tokens of these layers and heads make a page of [\d.]+ MB", found.said)
    assert "at most 15.0 MB and 1,024 tokens" in found.said and "tokens fit" in found.said


def test_what_does_nothing_is_said(attn):
    said = attn("trace", "--format", "html", "--step", "3", "--digits", "4").said
    assert "--step changes nothing here" in said and "--digits changes nothing here" in said


def test_many_prompts_are_no_page(attn):
    found = attn("trace", "--file", "-", "--each", "line", "--format", "html", stdin=b"a\nb\n")
    assert found.code == 2 and "html" in found.said
