"""Files as pieces and parts: what is read, in which order, and what is said of what cannot be."""

import gzip
import json
import os
import tracemalloc

import numpy as np
import pytest
import zstandard

from attn_cli.errors import ContentError, UsageError
from attn_cli.scanning import corpus as module
from attn_cli.scanning.corpus import Part, corpus

LINES = [f"the {word} is a {word}" for word in ("king", "queen", "man")]


def pieces(*names, **more):
    return [
        piece for part in corpus(list(map(str, names)), **more).parts() for piece in part.pieces
    ]


def texts(*names, **more):
    found = pieces(*names, **more)
    assert not [piece for piece in found if piece.problem]
    return [(piece.line, piece.text) for piece in found]


def packed(path, data):
    write = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(write(data))
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_lines_of_text_and_of_json_however_they_are_packed(tmp_path, suffix):
    text = "\n".join(["", *LINES[:2], "  ", LINES[2]]).encode()
    plain = packed(tmp_path / f"a.txt{suffix}", text)
    assert texts(plain) == [(2, LINES[0]), (3, LINES[1]), (5, LINES[2])]
    rows = "".join(json.dumps({"text": line, "n": 1}) + "\n" for line in LINES).encode()
    assert texts(packed(tmp_path / f"b.jsonl{suffix}", rows)) == list(enumerate(LINES, 1))
    assert texts(packed(tmp_path / f"c.txt{suffix}", rows)) == list(enumerate(LINES, 1))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_members_follow_each_other_and_names_do_not_matter(tmp_path, pack):
    path = tmp_path / "x.txt"
    path.write_bytes(pack(b"the king\n") + pack((b"queen" * 2000 + b"\n") * 300))
    assert len(pieces(path)) == 301


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_file_that_is_cut_gives_what_it_has_and_says_where_it_ends(tmp_path, pack, cut):
    words = "".join(f"line {i} {os.urandom(8).hex()}\n" for i in range(4000)).encode()
    path = tmp_path / "x.gz"
    path.write_bytes(pack(words)[:-cut])
    *good, bad = pieces(path)
    assert "ends in the middle" in bad.problem and bad.line == len(good) + 1
    assert not any(piece.problem for piece in good)


def test_a_damaged_file_ends_where_it_is_damaged_and_others_go_on(tmp_path):
    words = os.urandom(90_000).hex().encode()
    data = bytearray(gzip.compress(b"\n".join(words[i : i + 60] for i in range(0, len(words), 60))))
    data[len(data) // 2] ^= 255
    (tmp_path / "a.gz").write_bytes(data)
    (tmp_path / "b.txt").write_text("the king")
    found = pieces(tmp_path / "a.gz", tmp_path / "b.txt")
    assert found[-1].text == "the king" and "its gzip data is damaged" in found[-2].problem


def test_lines_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "the king"}\n{"text": 5}\nno\n{"text": "\xff"}\n{"text": "a"}\n')
    found = pieces(path)
    assert [piece.line for piece in found if piece.problem] == [2, 3, 4]
    assert [piece.text for piece in found if not piece.problem] == ["the king", "a"]


def test_a_name_that_promises_what_is_not_there(tmp_path):
    (tmp_path / "x.gz").write_bytes(b"the king")
    assert "does not begin like a gzip file" in pieces(tmp_path / "x.gz")[0].problem


def test_folders_and_patterns(tmp_path):
    for name in ("b.txt", "a.jsonl.gz", "deep/c.md", "picture.png", ".hidden.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b'{"text": "x"}') if "gz" in name else b"x")
    found = [os.path.relpath(name, tmp_path) for name in corpus([str(tmp_path)]).files]
    assert found == ["a.jsonl.gz", "b.txt", "deep/c.md"]
    assert len(corpus([f"{tmp_path}/*.txt", f"{tmp_path}/b.txt"]).files) == 1
    assert len(corpus([f"{tmp_path}/**/*.md"]).files) == 1


@pytest.mark.parametrize("name, said", [
    ("no.txt", "no file"), ("*.none", "no file is called"), ("empty", "has no file of text"),
    ("pipe", "is not a regular file"),
])  # fmt: skip
def test_what_is_not_there_is_refused(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContentError, match=said):
        corpus([str(tmp_path / name)])


def test_a_file_of_several_names_counts_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the king\n")
    (tmp_path / "b.txt").symlink_to("a.txt")
    (tmp_path / "c.txt").write_text("the king\n")
    names = ("a.txt", "./a.txt", tmp_path / "a.txt", "b.txt", ".", "*.txt")
    assert len(texts(*names)) == 2 and len(corpus(["a.txt", "./c.txt"]).files) == 2


def test_standard_input_cannot_be_read_twice():
    with pytest.raises(UsageError, match="not from standard input"):
        corpus(["-"])


@pytest.mark.parametrize("data", [b"", b"\n \n\n"])
def test_a_corpus_of_nothing(tmp_path, data):
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(ContentError, match="holds no prompt"):
        list(corpus([str(tmp_path / "x.txt")]).parts())
    (tmp_path / "y.txt").write_bytes(b"the king")
    assert len(pieces(tmp_path / "x.txt", tmp_path / "y.txt")) == 1


def test_documents_are_blocks_of_whole_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 40)
    path = tmp_path / "x.txt"
    path.write_text("\n".join(["", *LINES, "", *LINES]))
    found = texts(path, documents=True)
    assert [line for line, _ in found] == [2, 4, 8]
    assert "\n".join(text for _, text in found).split("\n") == [*LINES, "", *LINES]


def test_parts_are_of_one_size_and_the_same_every_time(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{line}\n" for line in LINES * 1000))
    read = corpus([str(path)])
    parts = list(read.parts())
    assert parts == list(read.parts())
    assert [part.number for part in parts] == list(range(len(parts)))
    sizes = [sum(len(piece.text) for piece in part.pieces) for part in parts]
    assert max(sizes) < read.of_part + 100 and min(sizes[:-1]) >= read.of_part
    ends = np.cumsum([sum(len(piece.text) + 1 for piece in part.pieces) for part in parts])
    ahead = [part.read for part in parts] - ends  # how far a scan is said to be
    assert ahead.min() >= 0 and ahead.max() <= 1 << 10 and parts[-1].read == read.size
    assert [Part.from_json(part.to_json()) for part in parts] == parts
    path.write_text(path.read_text().replace("queen", "Queen", 1))
    assert [a == b for a, b in zip(parts, read.parts(), strict=True)].count(False) == 1


def test_a_large_corpus_takes_little_memory(tmp_path):
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(b"the king is a man and the queen is a woman\n" * 30_000, 1))
    tracemalloc.start()
    assert sum(len(part.pieces) for part in corpus([str(path)]).parts()) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
