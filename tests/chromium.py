"""A browser for tests of the HTML page: Chromium, driven by playwright-core through node.

The node packages of `tests/browser/package-lock.json` are installed once, by npm, into a folder of
the user's cache that is named after that file.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = Path(__file__).parent / "browser"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str:
    """What to install before these tests can run, "" if nothing."""
    lacks = [name for name in ("node", "npm") if not shutil.which(name)]
    lacks += [] if found() else ["chromium"]
    return f"install {', '.join(lacks)} (Debian: apt-get install chromium)" if lacks else ""


def found() -> str:
    return next((path for name in NAMES if (path := shutil.which(name))), "")


def modules() -> Path:
    """The folder `node_modules`, filled if it is not there."""
    lock = (BROWSER / "package-lock.json").read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "attn-tests" / hashlib.sha256(lock).hexdigest()[:16]
    if not (folder / "node_modules").exists():
        making = folder.with_name(f"{folder.name}-{os.getpid()}")
        shutil.copytree(BROWSER, making)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=making, check=True, capture_output=True)
        try:
            making.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return folder / "node_modules"


class Browser:
    """Opens pages, each anew, and takes steps on them (see `drive.cjs`)."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def open(self, path: Path, *steps: tuple[str, ...], **look: Any) -> list[Any]:
        """What the steps gave; the page said nothing in the console and asked for nothing."""
        request = json.dumps({"path": str(path), "steps": steps, **look})
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        assert answer["said"] == []
        assert [url for url in answer["asked"] if url != path.as_uri()] == []
        return answer["results"]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser for as long as it is needed."""
    command = ["node", str(BROWSER / "drive.cjs"), str(modules()), found()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Browser(process)
        finally:
            process.stdin.close()
            process.wait(20)
