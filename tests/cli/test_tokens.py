"""`attn tokens`: a page that says what is true, its document, and what cannot be asked."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from attn_cli.model.weights import Weights

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = GOLDEN / "tokenizers"
PROMPT = "the unhappiest thinker"


def flat(result):
    return " ".join(result.text.split())


def rows(page, title):
    """The cells of a table's lines, split at two spaces."""
    lines = page.partition(f" {title}\n")[2].splitlines()
    body = lines[2 : next((n for n, line in enumerate(lines) if not line.strip()), None)]
    return [[cell for cell in line.split("  ") if cell] for line in body]


# --- one tokenizer -------------------------------------------------------------------------------


def test_the_page_holds_the_documents_numbers(attn):
    found = attn("tokens", PROMPT, "--json").json["result"]
    page = attn("tokens", PROMPT)
    table = rows(page.text, "the tokens")
    assert len(table) == found["own"] == len(found["tokens"])
    for cells, row in zip(table, found["tokens"], strict=True):
        assert cells[0].split() == [str(row["position"])] and cells[1].strip() == str(row["id"])
        assert cells[2].strip() == row["text"]
    ratio = f"{found['characters'] / found['own']:.1f}"
    headline = f"{len(PROMPT)} characters in {found['own']} tokens: {ratio} characters per token."
    assert headline in flat(page)


def test_word_pieces_are_listed_with_what_is_left(attn):
    page = attn("tokens", "unhappy king").text
    cut = [[cell.strip() for cell in cells] for cells in rows(page, "how the words were cut")]
    assert cut[:2] == [["unhappy", "unhappy", "un"], ["happy", "##h"]]
    assert "king" not in {cells[0] for cells in cut}
    assert "the longest entry that a word begins with" in " ".join(page.split())


def test_merges_are_listed_in_order_with_their_ranks(attn):
    asked = ("tokens", " China", "-m", FOLDERS / "gpt2")
    merges = json.loads((FOLDERS / "gpt2" / "tokenizer.json").read_text())["model"]["merges"]
    [word] = attn(*asked, "--json").json["result"]["words"]
    assert [merges[merge["rank"]] for merge in word["merges"]] == [
        [merge["left"], merge["right"]] for merge in word["merges"]
    ]
    cut = rows(attn(*asked).text, "how the words were cut")
    assert [cell.strip() for cell in cut[0]] == ["␣China", "␣ C h i n a"]
    assert [cells[0].strip() for cells in cut[1:]] == [str(m["rank"]) for m in word["merges"]]
    assert cut[-1][-1].strip() == " ".join(word["spelled"]).replace("Ġ", "␣")


def test_scores_add_up_to_the_sum_and_the_next_best_is_worse(attn):
    asked = ("tokens", "thinkers", "-m", FOLDERS / "t5")
    result = attn(*asked, "--json").json["result"]
    [word] = result["words"]
    scores = [row["score"] for row in result["tokens"] if row["how"] == "scores"]
    assert word["total"] == pytest.approx(sum(scores), rel=1e-6)
    assert word["runner_up_total"] < word["total"]
    page = attn(*asked).text
    [cells] = rows(page, "how the words were cut")
    shown = [cell.strip() for cell in cells]
    assert shown[0] == "␣thinker s" and shown[1] == f"{word['total']:.2f}".replace("-", "−")
    assert all(f"score {score:.2f}".replace("-", "−") in page for score in scores)


def test_a_character_of_several_tokens_is_held_together_by_brackets(attn):
    page = attn("tokens", "a孙", "-m", FOLDERS / "gpt2").text
    assert "1 character is put together from several tokens" in " ".join(page.split())
    assert "孙 (3 tokens)" in page or "孙 (2 tokens)" in page
    marks = [line for line in page.splitlines() if "孙┐" in line or "孙┤" in line or "孙┘" in line]
    result = attn("tokens", "a孙", "-m", FOLDERS / "gpt2", "--json").json["result"]
    assert len(marks) == len(result["split"][0]["positions"])
    assert "孙┐" in marks[0] and "孙┘" in marks[-1]


def test_a_bos_that_is_written_and_added_is_told(attn):
    asked = ("tokens", "<s>the king", "-m", FOLDERS / "llama2")
    result = attn(*asked)
    assert "note: <s> is there twice, at 0 and 1" in result.said
    assert [row.count("<s>") for row in rows_of_special(result.text)] == [1, 1]
    assert "twice" not in attn(*asked, "--no-special").said
    assert "The tokenizer adds <s> by itself" in flat(result)
    assert "by itself" not in flat(attn(*asked, "--no-special"))


def rows_of_special(page):
    table = page.partition("the tokens")[2]
    return [line for line in table.splitlines() if " <s> " in f"{line} "]


def test_tokens_beyond_the_context_are_told_and_no_error(attn):
    result = attn("tokens", "the " * 260, "--json").json["result"]
    assert (result["own"], result["beyond"]) == (260, 4)
    page = attn("tokens", "the " * 260, "--full")
    said = "tiny reads at most 256 tokens: from position 256 on (`the`), 4 tokens do not fit"
    assert said in flat(page)
    marked = [cells for cells in rows(page.text, "the tokens") if cells[0].strip()[0] == "✗"]
    assert [int(cells[0].split()[1]) for cells in marked] == [256, 257, 258, 259]
    assert "✗" not in attn("tokens", "the " * 256, "--full").text


def test_a_long_text_shows_both_ends_and_how_many_more(attn):
    page = attn("tokens", "the king is " * 30)
    table = rows(page.text, "the tokens")
    places = [cells[0].strip() for cells in table]
    assert places[:13] == [*map(str, range(12)), "…"] and places[-2] == "89"
    assert places[-1] == "… 66 more (--full shows all)"
    assert len(rows(attn("tokens", "the king is " * 30, "--full").text, "the tokens")) == 90


def test_many_words_are_listed_on_request(attn):
    text = " ".join(f"unhapp{letter}x" for letter in "abcdefghijklmnopqrstuvwxyz")
    page = flat(attn("tokens", text))
    assert "--merges lists how 26 different words were cut." in page
    assert "how the words were cut" not in page
    listed = flat(attn("tokens", text, "--merges"))
    assert "how the words were cut the first 24 of 26; --full shows all" in listed
    assert "unhappxx" in listed and "unhappzx" not in listed.partition("how the words")[2]
    assert "unhappzx" in flat(attn("tokens", text, "--full")).partition("how the words")[2]


def test_a_very_long_word_is_no_trouble(attn):
    found = attn("tokens", "-m", FOLDERS / "gpt2", stdin=b"a" * 40_000)
    assert "how 1 word of more than 1,000 characters came about is not told" in found.said
    assert "40,000 characters in" in flat(found)
    assert attn("tokens", stdin=b"x" * 40_000).code == 0


def test_a_pair_and_a_chat_are_read_as_elsewhere(attn):
    pair = attn("tokens", "the king", "--pair", "a queen", "-m", "tiny-encoder", "--json").json
    trace = attn("trace", "the king", "--pair", "a queen", "-m", "tiny-encoder", "--json").json
    assert pair["prompt"]["tokens"] == trace["prompt"]["tokens"]
    starts = [row["start"] for row in pair["result"]["tokens"] if row["how"] != "added"]
    assert starts == [0, 4, 8, 10]
    chat = attn("tokens", "the king", "--chat", "-m", "smollm2")
    assert "in the chat format chatml" in chat.said
    assert chat.text.count("in the text") == 3


def test_spaces_alone_are_a_text_where_they_are_tokens(attn):
    result = attn("tokens", "   ", "-m", "smollm2", "--json").json["result"]
    assert [row["bytes"] for row in result["tokens"]] == ["20 20 20"]
    assert "the prompt is empty" in attn("tokens", "   ", "-m", "tiny-encoder").said
    page = flat(attn("tokens", "\u200d", "-m", FOLDERS / "bert"))
    assert "The text gives no token of its own. The tokenizer adds [CLS], [SEP] by itself." in page


def test_each_line_is_a_document_of_its_own(attn):
    lines = attn("tokens", "--each", "line", "--json", stdin=b"the king\nunhappy\n").lines
    assert lines == [attn("tokens", text, "--json").json for text in ("the king", "unhappy")]
    given = attn("tokens", "--each", "line", "--json", stdin=b'{"text": "the", "n": 1}\n').lines
    assert given[0]["prompt"]["given"] == {"n": 1}
    broken = attn("tokens", "--each", "line", "--json", stdin=b"the\n\xff\nis\n", partial=True)
    assert broken.code == 1 and len(broken.lines) == 2 and "line 2" in broken.said


def test_no_weights_are_read(attn, monkeypatch):
    def read(*_):
        raise AssertionError("a tensor was read")

    for name in ("__getitem__", "rows", "map"):
        monkeypatch.setattr(Weights, name, read)
    for model in ("tiny", "tiny-encoder", "tiny-translator", "smollm2"):
        assert attn("tokens", PROMPT, "-m", model, "--json").code == 0


# --- ids -----------------------------------------------------------------------------------------


def test_ids_spell_a_text(attn):
    ids = [row["id"] for row in attn("tokens", "unhappy king", "--json").json["result"]["tokens"]]
    typed = ",".join(map(str, ids))
    result = attn("tokens", "--ids", typed, "--json").json["result"]
    assert (result["spells"], result["again"]) == ("unhappy king", ids)
    page = flat(attn("tokens", "--ids", typed))
    assert "The ids spell unhappy␣king: 12 characters in 7 tokens" in page
    assert "this gives the same ids" in page and "how the words were cut" in page
    other = flat(attn("tokens", "--ids", f"{ids[1]},{ids[0]}"))
    assert "Read as a text, this gives other ids: " in other and "given" in other


def test_ids_without_a_tokenizer_spell_nothing(attn):
    result = attn("tokens", "--ids", "3,4", "-m", GOLDEN / "gpt2-a")
    assert "2 tokens, and no tokenizer that tells what they spell" in flat(result)
    assert "tokens are shown as their ids" in result.said
    document = attn("tokens", "--ids", "3,4", "-m", GOLDEN / "gpt2-a", "--json").json["result"]
    assert [row["bytes"] for row in document["tokens"]] == ["", ""]
    assert document["spells"] == ""


# --- two tokenizers ------------------------------------------------------------------------------


def test_two_tokenizers_are_aligned(attn):
    asked = ("tokens", "the unhappy king", "-m", "tiny", "-m", FOLDERS / "gpt2")
    found = attn(*asked, "--json").json
    result = found["result"]
    assert [reading["model"] for reading in result["readings"]] == ["tiny", "gpt2"]
    alone = [
        attn("tokens", "the unhappy king", "-m", m, "--json").json["result"] for m in asked[3::2]
    ]
    assert result["readings"] == alone
    assert "".join(row["text"] for row in result["stretches"]) == "the unhappy king"
    page = attn(*asked)
    (mine, others), common = result["boundaries"], result["common"]
    agree = f"{common} of their {mine + others - common} different boundaries are the same"
    assert agree in flat(page)
    aligned = rows(
        page.text, "the text between boundaries of both   ≠ where they cut it differently"
    )
    assert len(aligned) == len(result["stretches"])
    for cells, row in zip(aligned, result["stretches"], strict=True):
        same = (len(row["first"]), len(row["second"])) == (1, 1)
        assert ("≠" in {cell.strip() for cell in cells}) == (not same)


def test_the_environments_model_is_the_default_and_may_have_spaces(attn, tmp_path):
    folder = shutil.copytree(FOLDERS / "gpt2", tmp_path / "a model")
    found = attn("tokens", "the", "--json", env={"ATTN_MODEL": str(folder)}).json
    assert found["settings"]["models"] == [str(folder)]
    named = attn("tokens", "the", "-m", "tiny", "--json", env={"ATTN_MODEL": str(folder)}).json
    assert named["settings"]["models"] == ["tiny"]


@pytest.mark.parametrize(("asked", "code", "words"), [
    (("-m", "tiny", "-m", "tiny", "-m", "tiny", "x"), 2, "two are compared at most"),
    (("-m", "tiny", "-m", "smollm2", "--chat", "x"), 2, "--chat goes with one model"),
    (("-m", "tiny", "-m", "smollm2", "--ids", "5"), 2, "--ids goes with one model"),
    (("-m", "no-such", "x"), 1, "no model 'no-such'"),
    (("-m", "tiny", "-m", "no-such", "x"), 1, "no model 'no-such'"),
    (("--ids", "995"), 2, "out of range"),
    (("--ids", "5,x"), 2, "'x' is no id"),
    (("--ids", "5", "x"), 2, "two prompts"),
    (("",), 2, "the prompt is empty"),
    (("  ",), 2, "the prompt is empty"),
    (("x", "--pair", "y"), 2, "has no segments"),
    (("x", "--target", "y"), 2, "no such option: --target"),
    (("x", "--max-memory", "1GiB"), 2, "no such option: --max-memory"),
    (("x", "--strict"), 2, "--strict needs --each"),
    (("x", "--chat"), 2, "no chat format"),
    (("x", "--format", "csv"), 2, "cannot write csv"),
    (("-m", GOLDEN / "gpt2-a", "x"), 1, "has no tokenizer.json"),
    (("-m", GOLDEN, "x"), 1, "a folder without a model"),
    (("-m", Path(__file__), "x"), 1, "is not a readable GGUF file"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused(attn, asked, code, words):
    result = attn("tokens", *asked)
    assert result.code == code
    assert words in result.said and "hint: " in result.said


def test_text_that_is_none_and_too_much_text(attn):
    assert "not valid UTF-8" in attn("tokens", stdin=b"a\xff").said
    assert attn("tokens", stdin=b"a\xff").code == 1
    much = attn("tokens", stdin=b"the " * 260_000)
    assert much.code == 1 and "the prompt has more than 1,000,000 characters" in much.said


# --- a tokenizer alone ---------------------------------------------------------------------------


def test_a_folder_with_a_tokenizer_alone_is_enough(attn):
    result = attn("tokens", "the king", "-m", FOLDERS / "bert")
    assert result.text.startswith(" bert\n ▏[CLS]") and "only its tokenizer is used" in result.said
    document = attn("tokens", "the king", "-m", FOLDERS / "bert", "--pair", "a", "--json").json
    assert document["model"] is None and document["result"]["beyond"] == 0
    refused = attn("trace", "the king", "-m", FOLDERS / "bert")
    assert refused.code == 1 and "without a model" in refused.said


def test_a_gguf_file_that_does_not_open_may_have_a_tokenizer(attn, write_gguf, tmp_path):
    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["<unk>", "<s>", "</s>", "a", "b", "ab", "▁", "▁a"])
        writer.add_token_scores([0.0, 0.0, 0.0, -3.0, -4.0, -1.0, -5.0, -2.0])
        writer.add_token_types([2, 3, 3, 1, 1, 1, 1, 1])

    path = write_gguf(tmp_path / "vocabulary.gguf", "unheard-of", add, {})
    result = attn("tokens", "ab", "-m", path)
    assert "unheard-of" in result.said and "only its tokenizer is used" in result.said
    document = attn("tokens", "ab", "-m", path, "--json").json["result"]
    assert [(m["left"], m["right"], m["score"]) for m in document["words"][0]["merges"]] == [
        ("a", "b", -1.0)
    ]
    assert "the pair that makes the token of the best score" in flat(result)


# --- documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [
    (PROMPT,), ("--ids", "5,6"), (PROMPT, "-m", "tiny", "-m", "smollm2"),
    ("a孙", "-m", FOLDERS / "gpt2"), ("thinkers", "-m", FOLDERS / "t5"),
    ("the", "--pair", "king", "-m", "tiny-encoder"),
], ids=str)  # fmt: skip
def test_documents_follow_the_schema(attn, asked):
    check = jsonschema.Draft202012Validator(attn("schema", "tokens").json)
    document = attn("tokens", *asked, "--json").json
    check.validate(document)
    for key in document:
        assert not check.is_valid({k: v for k, v in document.items() if k != key})
    result = {**document["result"], "more": 1}
    assert not check.is_valid({**document, "result": result})
    assert attn("tokens", *asked, "--json").out == attn("tokens", *asked, "--json").out


@pytest.mark.parametrize("asked", [
    (PROMPT,), ("--ids", "5,6"), (PROMPT, "-m", "tiny", "-m", "smollm2"), ("the " * 260,),
    ("a孙 \u200d\u202e", "-m", FOLDERS / "gpt2"), ("a\u200d", "-m", FOLDERS / "llama2"),
    ("thinkers", "-m", FOLDERS / "t5"), ("<s>the king", "-m", "tiny-encoder"),
], ids=str)  # fmt: skip
def test_a_saved_document_is_shown_as_the_same_page(attn, tmp_path, asked):
    path = tmp_path / "tokens.json"
    assert attn("tokens", *asked, "--out", path).code == 0
    assert attn("show", path).out == attn("tokens", *asked).out


def test_a_document_whose_parts_do_not_fit_is_refused(attn):
    document = attn("tokens", "the king", "-m", "tiny", "-m", "smollm2", "--json").json
    document["result"]["stretches"][0]["first"] = [7]
    refused = attn("show", stdin=json.dumps(document).encode())
    assert refused.code == 1 and "parts do not fit together" in refused.said


def test_what_only_a_page_has_is_told_of_a_document(attn):
    said = attn("tokens", "x", "--merges", "--json").said
    assert said == "note: --merges changes nothing here: json is written in full\n"
    assert attn("tokens", "x", "--merges", "--json", "--quiet").said == ""


@pytest.mark.parametrize("text", ["[red]x[/] :smile:", "\x1b[31m\u202e\u200b", "|▏|", "##x"])
def test_tokens_are_data(attn, text):
    """No markup acts and no control character is left (which `attn` looks for itself)."""
    for more in ((), ("-m", "smollm2", "-m", "tiny"), ("--full", "-m", "smollm2")):
        page = attn("tokens", *more, "--", text).text
        assert "\x1b" not in page
    assert "[red]x[/]" not in text or "▏[▏red▏]" in attn("tokens", "--", text).text


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_pages_fit_the_screen(attn, columns):
    for more in ((), ("-m", "smollm2"), ("-m", "smollm2", "-m", "tiny")):
        page = attn("tokens", "the unhappiest 孔子", *more, columns=columns).text
        wide = [line for line in page.splitlines() if len(line) > columns]
        assert not [line for line in wide if columns >= 40]


@pytest.mark.parametrize("view", ["lines", "heatmap", "dots"])
def test_a_long_documents_ends_are_shown_in_every_view(attn, view):
    document = attn("tokens", "the king is " * 30, "--json").out
    page = attn("show", "--view", view, stdin=document).text
    assert "… 66 more (--full shows all)" in page
    assert "66 more" not in attn("show", "--view", view, "--full", stdin=document).text
    if view == "lines":
        stated = [line.strip() for line in page.splitlines() if ", bytes 74 68 65, " in line]
        assert [int(line.split(",")[0]) for line in stated] == [0, 3, 6, 9, 78, 81, 84, 87]
