"""Scans: a corpus that is none, parts that are none, ends in the middle, results in bad places."""

import copy
import json
import os
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from cli.conftest import run, start
from faults.harness import row, suite
from faults.makers import cut, edited, fifo, file, flipped, folder, link
from faults.test_fuzz import BUDGET, changed
from hypothesis import given
from hypothesis import strategies as st
from scanning.test_records import DATA, JOB, SHAPE

from attn_cli.errors import ContentError
from attn_cli.scanning import records
from attn_cli.scanning.corpus import Corpus

TEXT = "the king is a man\nthe queen is a woman\n"
SCAN = "scan c.txt --layer 0 --head 0 --out r.json"
PARTS = "r.json.parts"
PART, ALL = f"{PARTS}/000000000.part", f"{PARTS}/all.part"
corpus = file("c.txt", TEXT)


@cache
def _ended():
    """The files of a scan whose result could not be written, by name."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as back:
        back.callback(os.chdir, os.getcwd())
        os.chdir(place)
        corpus(Path(place))
        from attn_cli.cli import output

        back.callback(setattr, output, "deliver", output.deliver)
        output.deliver = lambda *_, **__: 1
        from attn_cli.scanning.saved import Parts

        back.callback(setattr, Parts, "done", Parts.done)
        Parts.done = lambda _: None
        run(*SCAN.split(), "--quiet", partial=True)
        return {path.name: path.read_bytes() for path in Path(place, PARTS).iterdir()}


def ended(here):
    """Parts of a scan that was ended before its result was written."""
    for name, data in _ended().items():
        file(f"{PARTS}/{name}", data)(here)


def unlinked(name):
    return lambda here: (here / name).unlink(missing_ok=True)


def socket_file(name):
    def make(here):
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(here / name))

    return make


def left(name, arguments, code, *says, make=(), **more):
    makers = (make,) if callable(make) else make
    return row(name, arguments, code, *says, make=(corpus, ended, *makers), **more)


KINDS = {
    "folder": folder, "fifo": fifo, "link-gone": lambda name: link(name, "../gone"),
    "link-victim": lambda name: link(name, "../victim"),
    "link-device": lambda name: link(name, "/dev/zero"),
    "link-loop": lambda name: link(name, Path(name).name),
}  # fmt: skip
ENDS = [(2, 130), (15, 143)]
# Where a signal comes, and what a run may have written until then.
STAGES = {
    "reading-a-part": ("open 000000000.part", ""),
    "writing": ("open .r.json.", ""),
    "naming": ("os.rename .r.json.", "r.json"),
    "forgetting": ("os.remove 000000000.part", f"r.json {PARTS} {PARTS}/"),
}
ROWS = (
    row("fifo", "scan f", 1, "f is not a regular file", make=fifo("f")),
    row("device-null", "scan /dev/null", 1, "not a regular file"),
    row("device-zero", "scan /dev/zero", 1, "not a regular file"),
    row("socket", "scan s.txt", 1, "not a regular file", make=socket_file("s.txt")),
    row("folder-empty", "scan d", 1, "no file of text", make=folder("d")),
    row("folder-of-links-to-itself", "scan d", 1, "no file of text",
        make=(folder("d"), link("d/in", "../d"))),
    row("link-loop", "scan l", 1, "too many levels", make=link("l", "l")),
    row("link-gone", "scan d", 1, "d/l.txt",
        make=(folder("d"), file("d/a.txt", TEXT), link("d/l.txt", "gone"))),
    row("folder-with-a-fifo", "scan d", 1, "d/p.txt is not a regular file",
        make=(folder("d"), file("d/a.txt", TEXT), fifo("d/p.txt"))),
    row("name-long", ["scan", "x" * 5000], 1, "file name too long"),
    row("pattern-long", ["scan", "*" * 5000], 1, "5,000 characters"),
    row("resume", f"{SCAN} --resume", 2, "belongs to train", make=corpus),
    row("out-is-corpus", "scan c.txt --out c.txt --format json", 2, "reads", make=corpus),
    row("out-is-link-to-corpus", "scan c.txt --out l --format json", 2, "reads",
        make=(corpus, link("l", "c.txt"))),
    row("out-is-corpus-of-folder", "scan d --out d/a.txt --format json", 2, "reads",
        make=(folder("d"), file("d/a.txt", TEXT))),
    row("out-is-folder", "scan c.txt --out d", 1, "is a folder", make=(corpus, folder("d"))),
    row("out-in-no-folder", "scan c.txt --out d/r.json", 1, "mkdir -p d", make=corpus),
    row("out-full", "scan c.txt --out /dev/full --format json --layer 0 --head 0", 1, "no space",
        make=corpus),
    row("out-read-only", f"{SCAN} --quiet", 0, leaves="r.json",
        make=(corpus, file("r.json", "{}"), lambda here: (here / "r.json").chmod(0o400))),
    row("out-link", "scan c.txt --out l.json --layer 0 --head 0 --quiet", 0, leaves="r.json",
        make=(corpus, file("r.json", "{}"), link("l.json", "r.json"))),
    row("parts-file", SCAN, 1, "is no folder", make=(corpus, file(PARTS, "x"))),
    row("parts-link-gone", SCAN, 1, "is no folder", make=(corpus, link(PARTS, "gone"))),
    left("go-on", f"{SCAN} --quiet", 0, leaves=f"r.json {PARTS}/ {PARTS}"),
    left("other-head", SCAN.replace("head 0", "head 1"), 1, "other settings", "--fresh"),
    left("other-text", SCAN, 1, "another corpus", make=file("c.txt", TEXT * 2)),
    left("other-words", SCAN, 1, "not what it was", make=file("c.txt", TEXT.replace("man", "boy"))),
    left("fewer", SCAN, 1, "another corpus", make=file("c.txt", "")),
    left("scan-json-gone", SCAN, 1, "not what they are of", make=unlinked(f"{PARTS}/scan.json")),
    left("scan-json-empty", SCAN, 1, "damaged", make=file(f"{PARTS}/scan.json", "")),
    left("scan-json-deep", SCAN, 1, "damaged", make=file(f"{PARTS}/scan.json", "[" * 10**6)),
    left("scan-json-list", SCAN, 1, "damaged", make=file(f"{PARTS}/scan.json", "[]")),
    *(
        left(f"scan-json-{key}", SCAN, 1, "--fresh",
             make=edited(f"{PARTS}/scan.json", lambda d, key=key: {**d, key: ["x" * 10**5]}))
        for key in ("schema", "model_digest", "version", "files", "size", "job")
    ),
    *(
        left(f"{name.rpartition('/')[2]}-{kind}", SCAN, 1, f"{name} is not a regular file",
             "remove it", make=(file("victim", "as it was"), unlinked(name), KINDS[kind](name)))
        for name in (PART, ALL, f"{PARTS}/scan.json", f"{PARTS}/lock")
        for kind in (KINDS if name == PART else ("folder", "link-victim"))
    ),
    left("part-folder-fresh", f"{SCAN} --fresh", 1, f"{PART} is not a regular file", "remove it",
         make=(unlinked(PART), folder(PART))),
    *(left(f"part-cut-{n}", SCAN, 1, "part", "--fresh", make=cut(PART, n))
      for n in (0, 40, -1)),
    *(left(f"part-flipped-{n}", SCAN, 1, PART, "--fresh", make=flipped(PART, n))
      for n in (0, 60)),
    left("part-twice", f"{SCAN} --quiet", 0, leaves=f"r.json {PARTS}/ {PARTS}",
         make=lambda here: shutil.copy(here / PART, here / ALL)),
    left("part-of-nothing", SCAN, 1, "is no part of a scan",
         make=file(f"{PARTS}/000000009.part", "x")),
    *(
        left(f"name-of-no-part{fresh}", f"{SCAN}{fresh} --quiet", 0,
             make=file(f"{PARTS}/film.part", "x"),
             leaves=f"r.json {PART} {PARTS}/scan.json {PARTS}/lock")
        for fresh in ("", " --fresh")
    ),
    row("scan-json-of-someone-else", SCAN, 1, "not of a scan",
        make=(corpus, file(f"{PARTS}/scan.json", "precious"))),
    row("lock-of-someone-else", SCAN, 1, "not of a scan",
        make=(corpus, file(f"{PARTS}/lock", "mine"))),
    left("fresh", f"{SCAN} --fresh --quiet", 0, leaves=f"r.json {PARTS}/ {PARTS}",
         make=flipped(PART, 60)),
    left("others-stay", f"{SCAN} --quiet", 0, make=file(f"{PARTS}/notes.txt", "mine"),
         leaves=f"r.json {PART} {PARTS}/scan.json {PARTS}/lock"),
    *(
        left(f"signal-{number}-at-{stage}", f"{SCAN} --quiet", code, at=f"{number} {at}",
             leaves=leaves)
        for number, code in ENDS for stage, (at, leaves) in STAGES.items()
    ),
)  # fmt: skip
test_runs = suite(ROWS)


# --- files that change ---------------------------------------------------------------------------


def test_a_file_that_vanishes_or_shrinks_while_it_is_read_is_no_fault(tmp_path, monkeypatch):
    """What was read of it counts, and a line says what became of it."""
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text(TEXT * 10)
    two.write_text(TEXT)
    pieces = Corpus._pieces

    def changed(self, read):
        for number, piece in enumerate(pieces(self, read)):
            if number == 0:
                two.unlink()
                os.truncate(one, 30)
            yield piece

    monkeypatch.setattr(Corpus, "_pieces", changed)
    result = run("scan", one, two, "--layer", "0", "--head", "0", "--json", partial=True)
    assert (result.code, result.json["result"]["prompts"]) == (1, 20)
    assert result.said.startswith(f"attn: {two}: line 1: no file {two}\n")


# --- records -------------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_part_that_is_cut_or_changed_anywhere_is_refused():
    for at in range(len(DATA)):
        other = bytearray(DATA)
        other[at] ^= 1 << at % 8
        for data in DATA[:at], bytes(other):
            with pytest.raises(ContentError):
                records.read(data, JOB, SHAPE)


@pytest.mark.faults
def test_a_part_of_other_values_with_the_right_digest_is_no_fault():
    start = len(records._MAGIC) + 16
    end = start + 4 + int.from_bytes(DATA[start : start + 4], "big")
    told = json.loads(DATA[start + 4 : end])

    @BUDGET
    @given(st.data())
    def fuzz(data):
        header = json.dumps(changed(data.draw, copy.deepcopy(told))).encode()
        rest = len(header).to_bytes(4, "big") + header + DATA[end:]
        try:
            records.read(records._MAGIC + records._digest(rest) + rest, JOB, SHAPE).to_bytes()
        except ContentError as problem:
            assert len(problem.message) < 200

    fuzz()


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [*ENDS, (1, 129)])
@pytest.mark.parametrize("others", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_scan_that_is_ended_twice_at_once_keeps_what_it_has(tmp_path, number, code, others):
    corpus(tmp_path)
    (tmp_path / "c.txt").write_text(TEXT * 600)
    scan = start(*SCAN.split(), "--quiet", *others, cwd=tmp_path)
    while not list(tmp_path.glob(f"{PARTS}/*.part")):
        assert scan.poll() is None, scan.communicate()
        time.sleep(0.01)
    for _ in range(2):
        scan.send_signal(number)
    assert (*scan.communicate(timeout=100), scan.returncode) == (b"", b"", code)
    kept = sorted(os.listdir(tmp_path))
    assert kept == ["c.txt", PARTS], kept
    assert {p.suffix for p in (tmp_path / PARTS).iterdir()} <= {".part", ".json", ""}
