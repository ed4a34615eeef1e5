"""Parts that are done, beside a scan's output: a scan that was ended goes on from there.

The folder has `scan.json`, which says of what they are, and records, each under the number of a
part; now and then `all.part` takes the place of those it knows.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from attn_cli import files, strict
from attn_cli.errors import ContentError, shorten
from attn_cli.scanning.corpus import Corpus
from attn_cli.scanning.job import Job
from attn_cli.scanning.records import Record, Shape, read
from attn_cli.writing import NOTHING_WRITTEN, lock, write_bytes

_SCHEMA = "attn.scan.parts/1"
FRESH = "--fresh starts over, or choose another --out"
TOGETHER = 64  # parts until they are put together
_ALL, _TOLD, _LOCK = "all.part", "scan.json", "lock"
_PART = re.compile(r"all\.part|[0-9]{9,}\.part")


class Parts:
    """The folder of the parts of one job over one corpus. Raises ContentError where it holds
    something else, or another scan is at work in it; `fresh` forgets what is there. It is known to
    be `alone` where folders can be locked."""

    def __init__(self, path: Path, job: Job, corpus: Corpus, shape: Shape, *, fresh: bool) -> None:
        self._path, self._job, self._shape = path, job, shape
        self._single: list[Path] = []
        self._gone = False
        told = {
            "schema": _SCHEMA, "model": job.model, "version": job.version, "job": job.digest,
            "model_digest": job.model_digest, "files": list(corpus.files), "size": corpus.size,
        }  # fmt: skip
        if os.path.lexists(path) and not path.is_dir():
            raise ContentError(
                f"{path} is no folder, and parts are kept there", "choose another --out"
            )
        made = self._made()
        new = not os.path.lexists(path / _LOCK)
        with self._refusals():
            self._check_kinds()
            try:
                self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:  # a scan that had the folder has just ended
                raise self._another() from None
        with contextlib.ExitStack() as undoing:
            undoing.callback(os.close, self._lock)
            self._claim()
            undoing.callback(self._remove_folder, lock=new, folder=made)
            if fresh:
                self._forget()
            self._check(told)
            data = json.dumps(told, indent=1).encode() + b"\n"
            write_bytes(path / _TOLD, data)
            undoing.pop_all()

    def _made(self) -> bool:
        """Whether the folder was made now: else it was there. Raises ContentError."""
        with self._refusals():
            try:
                self._path.mkdir()
            except FileExistsError:
                return False
            except FileNotFoundError:
                parent = self._path.parent
                what = f"cannot write beside {self._path}: there is no folder {parent}"
                hint = f"make it first: mkdir -p {quote(str(parent))}"
                raise ContentError(what, hint) from None
        return True

    def load(self) -> Record:
        """All that is done. Raises ContentError for a part that is another scan's or damaged."""
        found = Record(self._job.digest, self._shape)
        for path in sorted(self._files, key=lambda path: (path.name != _ALL, path.name)):
            data = files.read_bytes(path)
            try:
                record = read(data, self._job.digest, self._shape)
                if record.parts.keys() <= found.parts.keys():
                    continue  # it was put together with others, and left there
                found.merge(record)
            except ContentError as problem:
                raise ContentError(f"{path}: {problem.message}", FRESH) from None
            except ValueError:
                raise ContentError(f"{path}: its parts are those of another file", FRESH) from None
            self._single += [path] * (path.name != _ALL)
        return found

    def save(self, data: bytes, number: int, whole: Record) -> None:
        """Keeps the record of a part, which is in the `whole` too. Raises ContentError."""
        path = self._path / f"{number:09d}.part"
        write_bytes(path, data)
        self._single.append(path)
        if len(self._single) >= TOGETHER:
            write_bytes(self._path / _ALL, whole.to_bytes())
            while self._single:
                self._remove(self._single.pop())

    def done(self) -> None:
        """Forgets the parts: the result is written."""
        self._forget()
        self._gone = True
        self._remove_folder()

    def _remove_folder(self, *, lock: bool = True, folder: bool = True) -> None:
        """Together with the lock, if nothing else is in it."""
        with contextlib.suppress(OSError):
            if lock:
                os.unlink(self._path / _LOCK)
            if folder:
                os.rmdir(self._path)

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, kind: object, problem: object, *_: object) -> None:
        """Lets another scan go on with them, if there are any; where writing failed, says so."""
        if not (self._gone or self._has_parts):
            self.done()
        os.close(self._lock)
        unwritten = isinstance(problem, ContentError) and problem.hint == NOTHING_WRITTEN
        if unwritten and self._has_parts:
            kept = f"the parts that are done are kept in {self._path}; the same command goes on"
            raise ContentError(problem.message, f"{kept} from there") from None

    @property
    def _files(self) -> list[Path]:
        """The parts: other names are no scan's."""
        return [path for path in self._path.glob("*.part") if _PART.fullmatch(path.name)]

    @property
    def _has_parts(self) -> bool:
        return bool(self._files)

    def _claim(self) -> None:
        try:
            self.alone = lock(self._lock, self._path / _LOCK)
        except BlockingIOError:
            raise self._another() from None

    def _another(self) -> ContentError:
        return ContentError(f"another scan is at work in {self._path}", "wait for it")

    def _forget(self) -> None:
        """Removes what a scan has written here, and nothing else."""
        for path in (*self._files, self._path / _TOLD):
            self._remove(path)

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError), self._refusals():
            os.unlink(path)

    def _check_kinds(self) -> None:
        """Raises ContentError for what no scan leaves here: a link would be written through, and
        a lock holds nothing."""
        for path in (*self._files, self._path / _TOLD, self._path / _LOCK):
            if not os.path.lexists(path):
                continue
            found = os.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                raise ContentError(f"{path} is not a regular file", "remove it")
            if path.name == _LOCK and found.st_size:
                raise ContentError(f"{path} is not of a scan", "choose another --out")

    def _check(self, told: dict[str, Any]) -> None:
        """Raises ContentError where what is there is of something else."""
        path = self._path / _TOLD
        if not path.exists():
            if self._has_parts:
                raise ContentError(f"{self._path} has parts, and not what they are of", FRESH)
            return
        try:
            there = strict.read_json_object(path, strict.INDEX)
            same = there["schema"] == _SCHEMA
        except (ContentError, LookupError):
            same = False
        if not same:
            raise ContentError(f"{path} is damaged, or not of a scan", FRESH)
        if not self._has_parts:
            return
        for name, what in _OTHERS.items():
            if there.get(name) != told[name]:
                told_by = {"version": "version", "model_digest": "model"}.get(name, "")
                said = f": {shorten(str(there.get(told_by)))}" if told_by else ""
                raise ContentError(f"{self._path} has parts of {what}{said}", FRESH)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as problem:
            why = files.reason(problem)
            raise ContentError(f"cannot keep parts in {self._path}: {why}") from None


_OTHERS = {
    "version": "another version of attn", "model_digest": "another model",
    "files": "another corpus", "size": "another corpus", "job": "a scan with other settings",
}  # fmt: skip


def folder_of(out: str) -> Path:
    """Where the parts of a scan that writes to this file are kept."""
    return Path(f"{out}.parts")
