"""The HTML page of a scan: it holds its numbers, nothing breaks out of it, and it is usable."""

import json
from html.parser import HTMLParser

import chromium
import pytest
from cli.conftest import run
from html_pages import HOSTILE


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "x.txt").write_text("the king is a man and the king\nthe queen is a woman\n" * 3)
    assert run("scan", folder / "x.txt", "--out", folder / "a.json").code == 0
    return folder / "a.json"


class Parser(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "link"):  # which have no end
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_every_mean_is_there_and_no_token_is_markup(saved):
    document = json.loads(saved.read_bytes())
    plain = Parser(run("show", saved, "--format", "html").text)
    assert plain.open == []
    # What the other pages begin with: no request may leave it.
    assert run("show", saved, "--format", "html").text.count("default-src 'none'") == 1
    for head in document["result"]["heads"]:
        assert f"{head['layer']}.{head['head']}" in plain.words
        for one in head["measures"]:
            assert (f"{one['mean']:.2f}" if one["count"] else "–") in plain.words
    for place, text in enumerate(document["result"]["texts"]):
        text["tokens"] = [HOSTILE[(place + i) % len(HOSTILE)] for i in range(len(text["ids"]))]
        text["file"] = HOSTILE[0]
    page = run("show", "--format", "html", stdin=json.dumps(document).encode())
    assert Parser(page.text).tags == plain.tags and "<script>alert" not in page.text


@pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing())
@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 1280), ("light", 390)])
def test_it_is_sorted_by_keyboard_and_nothing_is_found_by_axe(saved, scheme, width):
    path = saved.with_name("page.html")
    assert run("show", saved, "--head", "1.3", "--format", "html", "--out", path).code == 0
    order = ("read", "[...document.querySelectorAll('#ranking tbody th')].map(c => c.textContent)")
    sort = ("read", "(document.querySelectorAll('#ranking button')[4].focus(), 0)")
    wide = ("read", "document.documentElement.scrollWidth - innerWidth")
    with chromium.browser() as browser:
        steps = (order, ("axe",), wide, sort, ("press", "Enter"), order, ("press", "Enter"), order)
        before, found, over, _, once, twice = browser.open(path, *steps, scheme=scheme, width=width)
    assert found == [] and over <= 0
    assert sorted(before) == sorted(once) and once == twice[::-1] and before != once
