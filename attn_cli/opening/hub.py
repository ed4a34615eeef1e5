"""The local Hugging Face cache: repositories, their snapshots and refs. Nothing is fetched.

`models--ORG--NAME/` holds refs/REVISION (a file with a commit), snapshots/COMMIT/ (the files, as
links) and blobs/ (what the links lead to). https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from attn_cli.checkpoints.parts import of_one_model
from attn_cli.errors import ContentError, shorten, some
from attn_cli.files import read_bytes, reason
from attn_cli.opening.refusals import check_layout

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = re.compile(
    rf"(?P<repository>{_PART}(?:/{_PART})?)(?:/(?P<file>(?:{_PART}/)*{_PART}\.gguf))?"
    rf"(?:@(?P<revision>{_PART}(?:/{_PART})*))?(?::(?P<kind>{_PART}))?"
)
_PREFIX = "models--"
_WEIGHTS = frozenset(
    name + end for name in ("model.safetensors", "pytorch_model.bin") for end in ("", ".index.json")
)
_COMMIT = re.compile(r"[0-9a-f]{4,64}")
_NEEDED = (".json", ".safetensors", ".bin", ".model", ".txt")
# What only a tokenizer is read from: a model opens for ids without it.
_OF_TOKENIZERS = re.compile(
    r".*\.(model|txt)|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
)


def root() -> Path:
    """Where the reference library's tools keep what they have downloaded."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(home, "huggingface")
    older = os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(os.path.expanduser(os.environ.get("HF_HUB_CACHE") or older)))


def names() -> list[str]:
    """Every model of the cache as `find` takes it; of several GGUF files, each."""
    entries = [name for name in _names(root()) if name.startswith(_PREFIX)]
    found = []
    for entry in entries:
        repository = entry.removeprefix(_PREFIX).replace("--", "/", 1)
        if not _NAME.fullmatch(repository):
            continue  # no tool of the cache has made it, and no name would open it
        found += _variants(root() / entry, repository) or [repository]
    return found


def _variants(entry: Path, repository: str) -> list[str]:
    """The names of a repository's GGUF files where there are several and nothing else."""
    try:
        snapshot = _snapshot(entry, repository, "")
    except ContentError:
        return []
    files = [] if _is_whole(snapshot) else _models_in(snapshot)
    return [f"{repository}/{file}" for file in files] if len(files) > 1 else []


def _is_whole(snapshot: Path) -> bool:
    names = _names(snapshot)
    return "config.json" in names and not _WEIGHTS.isdisjoint(names)


def find(name: str) -> Path | None:
    """The folder or GGUF file that `ORG/NAME[/FILE.gguf][@REVISION][:KIND]` means.

    None where the name cannot be one of the cache or no such repository is there. Raises
    ContentError for one that is there but not whole.
    """
    if not (asked := _asked(name)):
        return None
    entry, repository = _entry(asked), asked["repository"]
    snapshot = _snapshot(entry, repository, asked["revision"] or "")
    found = _choose(snapshot, repository, asked["file"] or "", asked["kind"] or "")
    _check_links(entry, found, repository)
    return found


def folder_of(name: str) -> Path | None:
    """The folder that `ORG/NAME[@REVISION]` means, whatever is in it; otherwise as `find`."""
    if not (asked := _asked(name)):
        return None
    entry, repository = _entry(asked), asked["repository"]
    found = _snapshot(entry, repository, asked["revision"] or "")
    _check_links(entry, found, repository)
    return found


def _asked(name: str) -> re.Match[str] | None:
    """The parts of the name of a repository that the cache has."""
    asked = _NAME.fullmatch(name) if len(name) <= 500 and ".." not in name else None
    return asked if asked and os.path.isdir(_entry(asked)) else None


def _entry(asked: re.Match[str]) -> Path:
    return root() / (_PREFIX + asked["repository"].replace("/", "--"))


def could_be(name: str) -> bool:
    """Whether a name has an owner and a repository, as nothing else has."""
    asked = _NAME.fullmatch(name)
    return asked is not None and asked[0] == asked["repository"] and name.count("/") == 1


def again(repository: str) -> str:
    """The command that completes a download."""
    return f"hf download {repository} goes on where it stopped"


def _snapshot(entry: Path, repository: str, revision: str) -> Path:
    reference = entry / "refs" / (revision or "main")
    commits = [name for name in _names(entry / "snapshots") if _COMMIT.fullmatch(name)]
    if os.path.lexists(reference):
        commit = read_bytes(reference, limit=1000).decode("ascii", "replace").strip()
        if commit not in commits:
            raise ContentError(
                f"{reference} names the snapshot {shorten(commit)!r}, which is not there",
                again(repository),
            )
        return entry / "snapshots" / commit
    matching = [commit for commit in commits if commit.startswith(revision)]
    if len(matching) == 1:
        return entry / "snapshots" / matching[0]
    if not commits:
        raise _incomplete(entry, repository, "nothing of it has been downloaded")
    known = ", ".join(commit[:8] for commit in commits[:5])
    what = (
        f"no revision {shorten(revision)!r}" if revision else "several snapshots and no refs/main"
    )
    raise ContentError(f"{repository} has {what}", f"{repository}@COMMIT opens one of {known}")


def _names(folder: Path) -> list[str]:
    """What is in a folder, nothing if it is not there. Raises ContentError if it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ContentError(f"cannot read {folder}: {reason(error)}") from None


def _choose(snapshot: Path, repository: str, file: str, kind: str) -> Path:
    """What of a snapshot is the model: its folder, or one of its GGUF files."""
    files = _models_in(snapshot)
    if file or kind:
        asked = list(gguf_files(snapshot)) if file else files
        marked = [n for n in asked if kind and kind.lower() in re.split(r"[.-]", n.lower())]
        chosen = [name for name in asked if name == file or name in marked]
        if len(chosen) != 1:
            raise ContentError(
                f"{repository} has {len(chosen) or 'no'} files {shorten(file or kind)!r}",
                f"it has {some(files) or 'no GGUF files'}",
            )
        return snapshot / chosen[0]
    if _is_whole(snapshot):
        return snapshot
    if not files:
        entry, names = snapshot.parent.parent, _names(snapshot)
        if not _is_half_downloaded(entry):
            check_layout(snapshot, names)
        raise _incomplete(entry, repository, _what_is_missing(names))
    if len(files) > 1:
        raise ContentError(
            f"{repository} has {len(files)} GGUF files",
            f"name one, {repository}/FILE.gguf: {some(files)}",
        )
    return snapshot / files[0]


def is_gguf(name: str) -> bool:
    """Whether a file's name is that of a GGUF model, and not of what only sees pictures."""
    return name.endswith(".gguf") and not name.startswith("mmproj")


def gguf_files(snapshot: Path) -> Iterator[str]:
    """The GGUF models of a snapshot and its folders, without what only sees pictures."""
    for folder, _, names in os.walk(snapshot):
        for name in sorted(names):
            if is_gguf(name):
                yield os.path.relpath(os.path.join(folder, name), snapshot)


def _models_in(snapshot: Path) -> list[str]:
    """The GGUF files, of a model in parts only the first that is there."""
    found: dict[Path, str] = {}
    for name in gguf_files(snapshot):
        found.setdefault(of_one_model(Path(name))[0], name)
    return list(found.values())


def _what_is_missing(names: list[str]) -> str:
    if "config.json" in names:
        return "its snapshot has no weights, or no index of them"
    return "its snapshot has neither config.json nor a GGUF file"


def _incomplete(entry: Path, repository: str, what: str) -> ContentError:
    """Half-downloaded where a part is left behind; else what was asked for was never allowed."""
    if _is_half_downloaded(entry):
        return ContentError(f"{repository} is half-downloaded: {what}", again(repository))
    return ContentError(
        f"{repository} is not on this machine: {what}",
        f"hf download {repository}; a gated model first asks for its terms on its page, and "
        "hf auth login",
    )


def _is_half_downloaded(entry: Path) -> bool:
    return any(name.endswith(".incomplete") for name in _names(entry / "blobs"))


def check_tokenizer(snapshot: Path) -> None:
    """Raises ContentError where a link of the tokenizer's files leads out of a repository."""
    entry = snapshot.parent.parent
    if snapshot.parent.name == "snapshots" and entry.name.startswith(_PREFIX):
        names = filter(_OF_TOKENIZERS.fullmatch, _names(snapshot))
        _follow(entry, (snapshot / name for name in names), entry.name)


def _check_links(entry: Path, found: Path, repository: str) -> None:
    """The same for a model's own files."""
    if found.is_dir():
        names = (name for name in _names(found) if name.endswith(_NEEDED))
        paths = [found / name for name in names if not _OF_TOKENIZERS.fullmatch(name)]
    else:
        paths = list(filter(os.path.lexists, of_one_model(found)))
    _follow(entry, paths, repository)


def _follow(entry: Path, paths: Iterable[Path], repository: str) -> None:
    """Raises ContentError for a file whose blob is missing or that leads out of the repository."""
    home = os.path.realpath(entry)
    for path in paths:
        target = os.path.realpath(path)
        if os.path.commonpath([home, target]) != home:
            raise ContentError(f"{path} is a link that leaves the cache's {repository}")
        try:
            os.stat(target)
        except FileNotFoundError:
            raise ContentError(f"the blob of {path} is missing", again(repository)) from None
        except OSError as error:
            raise ContentError(f"cannot read {path}: {reason(error)}") from None
