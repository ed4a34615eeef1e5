"""`attn scan`: what it writes, what it refuses, and that no work is lost."""

import csv
import errno
import fcntl
import gzip
import io
import json
import multiprocessing
import os
import shutil
import signal
import time
from itertools import islice

import duckdb
import pyarrow.parquet
import pytest
from cli.conftest import run, start
from scanning.conftest import job

from attn_cli import __version__, vocabulary
from attn_cli.cli import output
from attn_cli.errors import ContentError
from attn_cli.scanning import engines, saved, workers
from attn_cli.scanning.corpus import corpus
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.workers import on_workers
from attn_cli.writing import NOTHING_WRITTEN

LINES = [f"the {a} is a {b}\n" for a in ("king", "queen", "man") for b in ("woman", "brother")]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(LINES * 4))
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A corpus of a second or two, in eight parts."""
    path = tmp_path_factory.mktemp("long") / "long.txt"
    path.write_text("".join(LINES * 200))
    return path


@pytest.fixture(scope="module")
def whole(long):
    """The document of a scan of it that nothing ended."""
    return run("scan", long, "--json", "--quiet").out


def parts_of(out):
    return sorted(path.name for path in out.with_name(f"{out.name}.parts").glob("*.part"))


# --- what it writes ------------------------------------------------------------------------------


def test_every_form_says_the_same(attn, tmp_path, lines):
    document = attn("scan", lines, "--json").json
    result = document["result"]
    assert (result["prompts"], result["tokens"], result["failed"]) == (24, 120, 0)
    wanted = {(h["layer"], h["head"], m["measure"]): m
              for h in result["heads"] for m in h["measures"]}  # fmt: skip
    assert len(wanted) == 8 * 13
    rows = list(csv.DictReader(io.StringIO(attn("scan", lines, "--format", "csv").text)))
    *told, about = attn("scan", lines, "--format", "ndjson").lines
    out = tmp_path / "found.parquet"
    assert attn("scan", lines, "--out", out).out == b""
    query = f"SELECT * FROM '{out}' WHERE mean IS NOT NULL OR count = 0"
    names = [column[0] for column in duckdb.sql(query).description]
    stored = [dict(zip(names, row, strict=True)) for row in duckdb.sql(query).fetchall()]
    assert len(rows) == len(told) == len(stored) == len(wanted)
    assert list(rows[0]) == names[:-2] and list(told[0]) == names
    for row, line, kept in zip(rows, told, stored, strict=True):
        one = wanted[line["layer"], line["head"], line["measure"]]
        for name in ("count", "mean", "deviation", "minimum", "maximum", "p05", "p50", "p95"):
            number = float("nan") if one[name] is None else one[name]
            found = [row[name], line[name], kept[name]]
            found = [float("nan") if v is None else float(v) for v in found]
            assert found == pytest.approx([number] * 3, rel=1e-6, nan_ok=True)
        assert [e["value"] for e in line["examples"]] == [e["value"] for e in one["examples"]]
        for mine, its in zip(kept["examples"], one["examples"], strict=True):
            text = result["texts"][its["text"]]
            assert (mine["line"], mine["tokens"]) == (text["line"], text["tokens"])
            assert "".join(f"{t} " for t in text["tokens"]).strip() == LINES[
                (text["line"] - 1) % len(LINES)
            ].strip()  # fmt: skip
    meta = json.loads(pyarrow.parquet.read_schema(out).metadata[b"attn.document"])
    assert meta == about
    assert meta["settings"] == document["settings"] and meta["model"] == document["model"]
    assert meta["tool"]["version"] == __version__ and meta["schema"] == "attn.scan/1"
    assert {h["provenance"] for h in result["heads"]} == {"derived"}


def test_a_what_if_says_that_it_is_one(attn, lines):
    found = attn("scan", lines, "--mask", "window:2", "--layer", "1", "--head", "1,3", "--json")
    heads = found.json["result"]["heads"]
    assert [(h["layer"], h["head"], h["provenance"]) for h in heads] == [
        (1, 1, "what-if"), (1, 3, "what-if"),
    ]  # fmt: skip
    assert "--mask window:2" in attn("scan", lines, "--mask", "window:2").text


@pytest.mark.parametrize("column", ["first", "entropy"])
def test_the_page_ranks_heads_and_a_saved_document_has_the_same_page(attn, lines, column):
    page = attn("scan", lines, "--sort", column, "--by", "token")
    saved = attn("scan", lines, "--sort", column, "--by", "token", "--json")
    assert attn("show", stdin=saved.out).out == page.out
    name = vocabulary.SCAN_COLUMNS[column]
    means = {
        f"{h['layer']}.{h['head']}": m["mean"]
        for h in saved.json["result"]["heads"] for m in h["measures"] if m["measure"] == name
    }  # fmt: skip
    order = sorted(means, key=means.get, reverse=column == "first")
    table = page.text.partition("──\n")[2].splitlines()[:8]
    assert [row.split()[0] for row in table] == order


def test_encoders_and_both_stacks(attn, lines):
    for model, more, count in (("tiny-encoder", (), 1), ("tiny-translator", ("--kind", "all"), 2)):
        found = attn("scan", lines, "-m", model, *more, "--json").json["result"]
        assert len({(h["stack"], h["kind"]) for h in found["heads"]}) == count


def test_lines_that_fail_are_named_and_the_others_count(attn, tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"the king\nthe \xff\n" + b"the king " * 200 + b"\nthe queen\n")
    (tmp_path / "half.txt.gz").write_bytes(gzip.compress("".join(LINES).encode())[:-9])
    found = attn("scan", path, tmp_path / "half.txt.gz", "--json", partial=True)
    assert found.code == 1 and found.json["result"]["failed"] == 3
    said = found.said
    assert f"attn: {path}: line 2: it is not valid UTF-8" in said
    assert f"attn: {path}: line 3: the prompt has 400 tokens, tiny reads at most 256" in said
    assert f"attn: {tmp_path / 'half.txt.gz'}: line 7: its gzip data ends in the middle" in said
    strict = attn("scan", path, "--strict")
    assert strict.code == 1 and strict.said.startswith(f"attn: {path}: line 2: ")


@pytest.mark.parametrize("typed, code, said", [
    (("no.txt",), 1, "no file no.txt"),
    (("{empty}",), 1, "holds no prompt"),
    (("{lines}", "--mask", "bogus"), 2, "is no mask and no file"),
    (("{lines}", "--mask", "block:cheese:is"), 1, "nothing could be measured: 24 lines"),
    (("{lines}", "--layer", "7"), 2, "--layer 7 is out of range"),
    (("{lines}", "--sort", "sink"), 2, "these heads have no sink"),
    (("{lines}", "--fresh"), 2, "--fresh needs --out"),
    (("{lines}", "--out", "{lines}"), 2, "is a file that this command reads"),
    (("{lines}", "--out", "{tmp}/no/x.json"), 1, "there is no folder"),
    (("{lines}", "--chunk", "1", "-m", "tiny-encoder"), 2, "--chunk 1 is too small"),
    (("-",), 2, "not from standard input"),
])  # fmt: skip
def test_what_is_refused(attn, tmp_path, lines, typed, code, said):
    (tmp_path / "empty.txt").write_text("\n")
    known = {"lines": lines, "empty": tmp_path / "empty.txt", "tmp": tmp_path}
    found = attn("scan", *(word.format(**known) for word in typed), "--quiet", partial=True)
    assert (found.code, found.out) == (code, b"") and said in found.said


# --- parts ---------------------------------------------------------------------------------------


def killed(out, *typed, least=2, by=signal.SIGKILL):
    """A scan that a signal ended when it had some parts; what it said and its exit code."""
    scan = start("scan", *typed, "--out", out, start_new_session=True)
    while len(parts_of(out)) < least:
        time.sleep(0.005)
        assert scan.poll() is None, scan.stderr.read()
    os.killpg(scan.pid, by)
    return scan.communicate(timeout=30)[1], scan


@pytest.fixture
def ended(tmp_path, long):
    """The output of a scan that was killed when it had two parts."""
    killed(tmp_path / "found.json", long)
    return tmp_path / "found.json"


@pytest.mark.slow
def test_a_killed_scan_goes_on_and_gives_the_same(attn, monkeypatch, ended, long, whole):
    before, measured, scan = len(parts_of(ended)), [], Scanner.scan
    assert before >= 2 and not ended.exists()

    def counted(self, part):
        measured.append(part.number)
        return scan(self, part)

    monkeypatch.setattr(Scanner, "scan", counted)
    assert attn("scan", long, "--out", ended, "--quiet").code == 0
    assert ended.read_bytes() == whole
    every = [part.number for part in corpus([str(long)]).parts()]
    assert len(measured) == len(every) - before
    assert not os.path.exists(f"{ended}.parts")


@pytest.mark.slow
def test_parts_of_something_else_are_refused_until_a_fresh_start(
    attn, tmp_path, ended, long, whole
):
    other = shutil.copytree(os.path.dirname(vocabulary.__file__) + "/data/tiny", tmp_path / "other")
    weights = next(other.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    (tmp_path / "more.txt").write_text("the king")
    kept, text = parts_of(ended), long.read_text()
    for more, said in (
        (("--mask", "window:2"), "of a scan with other settings"),
        (("-m", other), "of another model: tiny"),
        ((tmp_path / "more.txt",), "of another corpus"),
    ):
        found = attn("scan", long, "--out", ended, "--quiet", *more)
        assert found.code == 1 and said in found.said and "--fresh starts over" in found.said
    try:
        long.write_text(text.replace("queen", "kings", 1))
        found = attn("scan", long, "--out", ended, "--quiet")
    finally:
        long.write_text(text)
    assert found.code == 1 and "is not what it was" in found.said
    assert parts_of(ended) == kept and not ended.exists()
    one = ended.with_name("found.json.parts") / kept[0]
    one.write_bytes(one.read_bytes()[:-3])
    found = attn("scan", long, "--out", ended, "--quiet")
    assert found.code == 1 and "is damaged, or cut off" in found.said
    assert attn("scan", long, "--out", ended, "--quiet", "--fresh").code == 0
    assert ended.read_bytes() == whole


@pytest.mark.slow
def test_parts_are_put_together_now_and_then(attn, monkeypatch, tmp_path, long, whole):
    """A scan of any length leaves few files behind."""
    monkeypatch.setattr(saved, "TOGETHER", 3)
    out, most = tmp_path / "found.json", 0
    save, first = saved.Parts.save, []

    def counted(self, *arguments):
        nonlocal most
        first.append(arguments[0])
        save(self, *arguments)
        most = max(most, len(parts_of(out)))
        if arguments[1] == 5:
            raise ContentError("enough")

    monkeypatch.setattr(saved.Parts, "save", counted)
    assert "attn: enough" in attn("scan", long, "--out", out, "--quiet").said
    assert most <= 4 and "all.part" in parts_of(out)
    monkeypatch.setattr(saved.Parts, "save", save)
    # As if it had been killed before it was removed.
    (out.with_name("found.json.parts") / "000000000.part").write_bytes(first[0])
    assert attn("scan", long, "--out", out, "--quiet").code == 0
    assert out.read_bytes() == whole


def test_where_writing_fails_it_is_said_what_is_kept(attn, monkeypatch, tmp_path, lines):
    out = tmp_path / "x.json"

    def full(*given, **more):
        raise ContentError(f"cannot write {out}: no space left", NOTHING_WRITTEN)

    with monkeypatch.context() as failing:
        failing.setattr(saved, "write_bytes", full)
        found = attn("scan", lines, "--out", out, "--quiet")
    assert found.code == 1 and f"hint: {NOTHING_WRITTEN}" in found.said and not parts_of(out)
    with monkeypatch.context() as failing:
        failing.setattr(output, "deliver", full)
        found = attn("scan", lines, "--out", out, "--quiet")
    assert found.code == 1 and "no space left" in found.said and parts_of(out)
    assert f"hint: the parts that are done are kept in {out}.parts" in found.said
    assert "nothing was written" not in found.said
    assert attn("scan", lines, "--out", out, "--quiet").code == 0


def test_a_scan_that_has_no_part_leaves_nothing_and_is_in_nobody_s_way(attn, tmp_path, lines):
    out, folder = tmp_path / "x.json", tmp_path / "x.json.parts"
    bad = tmp_path / "bad.txt"
    bad.write_text("the king " * 200)
    for more, said in (((bad,), "nothing could be measured"), ((bad, "--strict"), "has 400 tokens"),
                       ((lines, "--scheduler", "tcp://127.0.0.1:1"), "refused")):  # fmt: skip
        found = attn("scan", "--out", out, "--quiet", *more)
        assert found.code == 1 and said in found.said and not folder.exists()
    folder.mkdir()  # as one leaves it that is killed
    (folder / "scan.json").write_text('{"schema": "attn.scan.parts/1", "model_digest": "another"}')
    assert attn("scan", lines, "--out", out, "--quiet").code == 0
    assert out.exists() and not folder.exists()


def test_two_scans_into_one_output(attn, tmp_path, lines):
    scanner = Scanner(job("tiny"))
    with saved.Parts(saved.folder_of(str(tmp_path / "x.json")), scanner.job, corpus([str(lines)]),
               scanner.shape, fresh=False):  # fmt: skip
        found = attn("scan", lines, "--out", tmp_path / "x.json", "--fresh")
        assert found.code == 1 and "another scan is at work" in found.said


def test_a_lock_that_was_taken_away_is_another_scans(attn, monkeypatch, tmp_path):
    (tmp_path / "lines").write_text("the king\n")
    real, place = fcntl.flock, tmp_path / "x.json.parts"

    def late(*asked):  # the scan that had it has ended, and a third has begun
        real(*asked)
        (place / "lock").unlink()
        (place / "lock").touch()

    monkeypatch.setattr("fcntl.flock", late)
    found = attn("scan", tmp_path / "lines", "--out", tmp_path / "x.json")
    assert found.code == 1 and "another scan is at work" in found.said
    assert not (tmp_path / "x.json").exists() and (place / "lock").exists()


def test_where_nothing_can_be_locked_it_says_so_and_goes_on(attn, monkeypatch, tmp_path):
    (tmp_path / "lines").write_text("the king\n")

    def refuse(*_):
        raise OSError(errno.ENOLCK, "")

    monkeypatch.setattr("fcntl.flock", refuse)
    found = attn("scan", tmp_path / "lines", "--out", tmp_path / "x.json")
    assert found.code == 0 and "x.json.parts cannot be locked" in found.said


# --- workers -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workers_give_the_same_even_if_one_is_killed(attn, monkeypatch, tmp_path, long, whole):
    """By its process id, in the middle of its part."""
    ended, give = [], workers._Worker.give

    def given(self, part):
        give(self, part)
        if part.number == 3 and not ended:
            ended.append(self.process.pid)
            os.kill(self.process.pid, signal.SIGKILL)

    monkeypatch.setattr(workers._Worker, "give", given)
    out = tmp_path / "found.json"
    assert attn("scan", long, "--out", out, "--quiet", "--workers", "2").code == 0
    assert out.read_bytes() == whole and len(ended) == 1
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_part_that_ends_every_worker_is_named(monkeypatch, long):
    monkeypatch.setattr(engines, "TRIES", 2)
    engine, ended = on_workers(job("tiny"), 1, 1), 0
    with pytest.raises(ContentError, match=r"a worker ended 2 times \(SIGKILL\) at the part that "
                       r"begins at .*long.txt: line 1"):  # fmt: skip
        for _ in engine(islice(corpus([str(long)]).parts(), 1)):
            for child in multiprocessing.active_children():
                ended += 1
                os.kill(child.pid, signal.SIGKILL)
    assert ended == 2


@pytest.mark.slow
def test_an_interrupt_ends_all_and_keeps_what_is_done(attn, long, tmp_path, whole):
    out = tmp_path / "found.json"
    said, scan = killed(out, long, "--workers", "2", by=signal.SIGINT)
    assert scan.returncode == 130 and b"Traceback" not in said
    assert not out.exists() and len(parts_of(out)) >= 2
    with pytest.raises(ProcessLookupError):
        for _ in range(1000):  # the last helper of Python's own sees the end a moment later
            os.killpg(scan.pid, 0)
            time.sleep(0.01)
    assert attn("scan", long, "--out", out, "--quiet").code == 0
    assert out.read_bytes() == whole


def test_a_model_that_workers_cannot_open_is_said(long):
    engine = on_workers(job("no/such-model"), 2, 2)
    with pytest.raises(ContentError, match="no/such-model"):
        list(engine(corpus([str(long)]).parts()))
