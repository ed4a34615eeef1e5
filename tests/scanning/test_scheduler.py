"""Who listens at the address of a scheduler, and with which certificates."""

import shutil
import signal
import socket
import ssl
import subprocess
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import SimpleNamespace

import dask
import distributed  # noqa: F401 - it fills in its configuration
import pytest

from attn_cli.errors import ContentError
from attn_cli.scanning import scheduler

GREETING = (40).to_bytes(8, "little")
NO_SCHEDULER = "does not answer as a scheduler of dask"


@contextmanager
def listening(says, secure=None):
    """A port at which one connection is told this, and held until the end."""
    ended = Event()

    def serve():
        with suppress(OSError), held.accept()[0] as line:
            safe = secure.wrap_socket(line, server_side=True) if secure else line
            safe.sendall(says)
            ended.wait()
            safe.close()

    with socket.create_server(("127.0.0.1", 0)) as held:
        thread = Thread(target=serve)
        thread.start()
        yield "127.0.0.1:{1}".format(*held.getsockname())
        ended.set()
        with suppress(OSError):  # where nobody has come
            socket.create_connection(held.getsockname(), 1).close()
        thread.join()


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_is_no_scheduler_is_not_waited_for(monkeypatch, says):
    """The library itself would wait without end for one that says nothing, as a web page's."""
    monkeypatch.setattr(scheduler, "_CONNECT", 0.1)
    with listening(says) as at, pytest.raises(ContentError, match=NO_SCHEDULER):
        scheduler._reach(f"tcp://{at}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two that know nothing of each other, each its own authority; key and certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder, found = tmp_path_factory.mktemp("tls"), []
    for name in ("ours", "other"):
        key, own = folder / f"{name}.key", folder / f"{name}.pem"
        made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj"
        subprocess.run(
            [*made.split(), "/CN=x", "-keyout", key, "-out", own], check=True, capture_output=True
        )
        found.append((str(key), str(own)))
    return found


@pytest.mark.parametrize("authority, key, own, said", [
    ("ours", "ours", "ours", ""),
    ("other", "ours", "ours", "shows a certificate that is not trusted: self-signed certificate"),
    ("ours", "other", "other", NO_SCHEDULER),
    ("ours", "other", "ours", "certificates of Dask's configuration cannot be used: key values"),
    ("ours", "no", "no", "certificates of Dask's configuration cannot be read: no such file"),
    ("ours", "", "", "tls:// needs certificates, and Dask's configuration has none"),
])  # fmt: skip
def test_certificates_that_do_not_fit_are_said_to(certificates, authority, key, own, said):
    ours, _ = certificates
    keys, names = (
        dict(zip(("ours", "other", "no", ""), (*of, "no.pem", None), strict=True))
        for of in zip(*certificates, strict=True)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ours[1])
    context.load_cert_chain(ours[1], ours[0])
    context.verify_mode = ssl.CERT_REQUIRED
    told = {"ca-file": names[authority], "client.cert": names[own], "client.key": keys[key]}
    told = {f"distributed.comm.tls.{name}": value for name, value in told.items()}
    with dask.config.set(told), listening(GREETING, context) as at:
        if not said:
            scheduler._reach(f"tls://{at}")
            return
        with pytest.raises(ContentError, match=said) as problem:
            scheduler._reach(f"tls://{at}")
        assert problem.value.hint


def test_a_signal_waits_until_what_was_asked_can_be_taken_back(monkeypatch, signals_heard):
    """The library's own object, of which one half made complains on stderr when it goes."""
    future = SimpleNamespace(add_done_callback=lambda act: None)

    def submit(*_, **__):
        signal.raise_signal(signal.SIGINT)
        return future

    monkeypatch.setattr(scheduler, "_reach", lambda address: None)
    monkeypatch.setattr(scheduler, "_client", lambda address: SimpleNamespace(submit=submit))
    monkeypatch.setattr(scheduler.Scheduler, "_watch", lambda self: None)
    at = scheduler.Scheduler("tcp://127.0.0.1:1")
    with pytest.raises(KeyboardInterrupt):
        at.ask("tcp://127.0.0.1:2", eval, "1")
    assert list(at._asked.values()) == [future]
