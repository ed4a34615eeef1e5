"""A connection to a Dask scheduler: who works for it, and what they are asked to do.

Dask sends what it is asked as pickles, and trusts whoever answers: `tcp://` is for networks that
are trusted, `tls://` takes its certificates from Dask's own configuration.
"""

import json
import logging
import os
import queue
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from attn_cli import files
from attn_cli.errors import PATH, ContentError, UsageError, shorten
from attn_cli.signals import held

TICK = 1.0  # seconds between looks at who is there
PATIENCE = 30  # looks until what does not answer is given up
_CONNECT = 5.0  # seconds
_GREETING = 1 << 20  # bytes that a scheduler begins with at most
_LARGEST = 1 << 26  # bytes of a scheduler file
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.%]+\]|[^\[\]/:\s]+):([0-9]{1,5})/?")
# What runs where there may be no attn: what it needs has to be in Python itself.
_VERSIONS = (
    "['{}.{}'.format(*__import__('sys').version_info), __import__('dask').__version__,"
    " __import__('distributed').__version__]"
)
OF_WORKER = f"[*{_VERSIONS}, __import__('attn_cli').__version__]"
_CERTIFICATES = "distributed.comm.tls: ca-file, client.cert and client.key; see dask config"
_LACKS = "to scan on a cluster the packages dask and distributed are needed"


class Answer(NamedTuple):
    """What came of a task: a value, or the exception that took its place."""

    task: str
    value: Any = None
    problem: Exception | None = None


def address_of(typed: str) -> str:
    """The address that was typed, or that a scheduler file names. Raises UsageError and
    ContentError."""
    if "://" in typed:
        found, problem = typed, UsageError
    elif not os.path.lexists(typed):
        hint = "--scheduler tcp://HOST:PORT, or the file that dask scheduler --scheduler-file wrote"
        raise UsageError(f"{shorten(typed, PATH)} is no address of a scheduler and no file", hint)
    else:
        found, problem = _of_file(typed), ContentError
    match = _ADDRESS.fullmatch(found)
    if not match or not 0 < int(match[3]) < 1 << 16:
        raise problem(
            f"{shorten(found)} is no address of a scheduler", "tcp://HOST:PORT or tls://HOST:PORT"
        )
    return found.rstrip("/")


def _of_file(name: str) -> str:
    try:
        found = json.loads(files.read_bytes(Path(name), limit=_LARGEST))["address"]
    except (ValueError, LookupError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str):
        hint = "dask scheduler --scheduler-file writes one"
        raise ContentError(f"{shorten(name, PATH)} is no scheduler file", hint)
    return found


class Scheduler:
    """Raises ContentError where it cannot be reached, or is of another version of Dask.

    `workers` are the addresses of those that are there; `versions` those of Python, dask and
    distributed, once it has said them; `lost` while it cannot be heard.
    """

    def __init__(self, address: str) -> None:
        self.address, self.lost = address, False
        self.workers: frozenset[str] = frozenset()
        self.versions: list[str] = []
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: dict[str, Any] = {}
        self._polls = self._heard = self._silent = 0
        self._ended = threading.Event()
        self._run = uuid4().hex[:12]
        self._count = 0
        _reach(address)
        self._client = _client(address)
        threading.Thread(target=self._watch, name="attn-scheduler", daemon=True).start()

    def ask(self, worker: str, work: Callable[..., Any], *arguments: Any) -> str:
        """Gives a task to a worker; its name."""
        self._count += 1
        task = f"attn-{work.__name__}-{self._run}-{self._count}"
        # What a signal would leave half made complains on stderr when it is thrown away.
        with held():
            future = self._client.submit(
                work, *arguments, key=task, workers=[worker], pure=False, allow_other_workers=False
            )
            self._asked[task] = future
            future.add_done_callback(self._answers.put)
        return task

    def drop(self, task: str) -> None:
        """Takes a task back, if it is not done."""
        future = self._asked.pop(task, None)
        if future is not None:
            future.cancel(force=True)

    def hear(self) -> Answer | None:
        """The next answer, to no task where workers have come or gone; None after a while.

        Raises ContentError where the scheduler has not been heard of for long.
        """
        try:
            future = self._answers.get(timeout=TICK)
        except queue.Empty:
            self._count_silence()
            return None
        if future is None or self._asked.pop(future.key, None) is None:
            return Answer("")
        try:
            return Answer(future.key, future.result(timeout=PATIENCE * TICK))
        except Exception as problem:
            return Answer(future.key, None, problem)

    def close(self) -> None:
        """Takes back what is not done."""
        self._ended.set()
        with suppress(Exception):
            if self._asked:
                self._client.cancel(list(self._asked.values()), force=True)
        with suppress(Exception):
            self._client.close(timeout=2)

    def _watch(self) -> None:
        while True:
            try:
                if not self.versions:
                    self.versions = self._client.run_on_scheduler(eval, _VERSIONS)
                workers, self.lost = frozenset(self._client.nthreads()), False
                self._polls += 1
            except Exception:  # for a moment, or it is closed
                workers, self.lost = frozenset(), True
            if workers != self.workers:
                self.workers = workers
                self._answers.put(None)
            if self._ended.wait(TICK):
                return

    def _count_silence(self) -> None:
        """Looks, not seconds: a machine that was asleep is no silence."""
        self._silent = 0 if self._polls != self._heard else self._silent + 1
        self._heard = self._polls
        if self._silent > PATIENCE:
            raise ContentError(
                f"the scheduler at {self.address} does not answer any more",
                "what is done is kept beside --out",
            ) from None


def _reach(address: str) -> None:
    """Raises ContentError where nobody listens, or what listens is no scheduler: one greets at
    once, and the library would wait for that without end."""
    host, _, port = address.partition("://")[2].rpartition(":")
    secure = _security(address)
    try:
        line = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT)
    except (OSError, UnicodeError) as problem:
        unknown = isinstance(problem, socket.gaierror | UnicodeError)
        why = "no such host" if unknown else files.reason(problem)
        raise ContentError(
            f"the scheduler at {address} cannot be reached: {why}",
            "is it running, and is this its address?",
        ) from None
    try:
        with line, secure.wrap_socket(line) if secure else line as safe:
            size = safe.makefile("rb").read(8)
    except ssl.SSLCertVerificationError as problem:
        what = f"the scheduler at {address} shows a certificate that is not trusted"
        raise ContentError(f"{what}: {problem.verify_message}", _CERTIFICATES) from None
    except OSError:
        size = b""
    if len(size) < 8 or int.from_bytes(size, "little") > _GREETING:
        raise _no_scheduler(address)


def _no_scheduler(address: str) -> ContentError:
    secure = address.startswith("tls")
    what = f"what listens at {address} does not answer as a scheduler of dask"
    other = "tcp:// for tls://, or it does not trust your certificate"
    return ContentError(what, f"another port, {other if secure else 'or tls:// for tcp://'}")


def _security(address: str) -> ssl.SSLContext | None:
    """The certificates of Dask's configuration, where the address asks for them. Raises
    ContentError where there are none, or not such."""
    if not address.startswith("tls"):
        return None
    library = _library()
    try:
        found = library.Security().get_connection_args("client")["ssl_context"]
    except ssl.SSLError as problem:
        why = (problem.reason or "no certificate").replace("_", " ").lower()
        told = f"the certificates of Dask's configuration cannot be used: {why}"
        raise ContentError(told, _CERTIFICATES) from None
    except OSError as problem:
        told = f"the certificates of Dask's configuration cannot be read: {files.reason(problem)}"
        raise ContentError(told, _CERTIFICATES) from None
    except Exception as problem:
        raise _of_configuration(problem) from None
    if found is None:
        raise ContentError(
            "tls:// needs certificates, and Dask's configuration has none", _CERTIFICATES
        )
    return found


def _library() -> Any:
    """The package distributed. Raises ContentError where it is not there."""
    try:
        import distributed
    except ImportError:
        raise ContentError(_LACKS, 'pip install "attn-cli[scan]"') from None
    except Exception as problem:
        raise _of_configuration(problem) from None
    return distributed


def _of_configuration(problem: Exception) -> ContentError:
    told = shorten(" ".join(str(problem).split()))
    return ContentError(f"dask cannot be started: {told}", "its configuration files")


def _client(address: str) -> Any:
    library = _library()
    try:
        return library.Client(
            address, timeout=_CONNECT, set_as_default=False, direct_to_workers=False, name="attn"
        )
    except Exception:
        problem = _no_scheduler(address)
        problem.hint = f"another version than {library.__version__}?"
        raise problem from None


def own_versions() -> list[str]:
    """Those of this process."""
    return eval(_VERSIONS)


def other_versions(found: list[str]) -> str:
    """What is different there: "" where nothing is."""
    pairs = zip(("Python", "dask", "distributed"), found, own_versions(), strict=False)
    other = [f"{name} {its}, here is {mine}" for name, its, mine in pairs if its != mine]
    return other[0] if other else ""


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that Dask and its libraries have to remark reaches the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
