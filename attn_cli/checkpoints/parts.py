"""A GGUF model that is cut into files: NAME-00001-of-00003.gguf and so on.

The keys and names are llama.cpp's (tools/gguf-split). The first part has the metadata.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from attn_cli.checkpoints.folder import INCOMPLETE
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError

_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def of_one_model(path: Path) -> list[Path]:
    """The parts that a file's name tells of, whether they are there or not; else the file alone."""
    named = _NAME.fullmatch(path.name)
    if named is None or not 1 <= int(named["number"]) <= int(named["count"]):
        return [path]
    stem, count = named["stem"], named["count"]
    return [path.with_name(f"{stem}-{n:05}-of-{count}.gguf") for n in range(1, int(count) + 1)]


def open_gguf_files(path: Path, given: Sequence[Path] = ()) -> Gguf:
    """A model's GGUF file with the tensors of all its parts, each mapped on its own.

    `given` are the parts where no name tells of them, in any order. Raises ContentError.
    """
    file = Gguf(path)
    number, count = _part(file)
    if count == 1 and not given:
        return file
    if given:
        files = sorted(map(Gguf, given), key=_part)
    else:
        places = of_one_model(path)
        _check_place(path, number, count, places)
        files = [file, *map(Gguf, places[1:])]
    for expected, part in enumerate(files, 1):
        if _part(part) != (expected, len(files)):
            number, count = _part(part)
            what = f"says that it is part {number} of {count}, not {expected} of {len(files)}"
            raise ContentError(f"{part.path} {what}")
    return _joined(files)


def _part(file: Gguf) -> tuple[int, int]:
    """Which part of how many a file is, counted from 1."""
    number, count = file.metadata.get("split.no", 0), file.metadata.get("split.count", 1)
    if type(number) is not int or type(count) is not int or not 0 <= number < max(count, 1):
        what = f"split.no {str(number)[:20]} does not go with split.count {str(count)[:20]}"
        raise ContentError(f"{file.path}: {what}")
    return number + 1, max(count, 1)


def _check_place(path: Path, number: int, count: int, places: list[Path]) -> None:
    """Raises ContentError unless this is the first part, and the names lead to all others."""
    if len(places) != count or places[number - 1] != path:
        raise ContentError(
            f"{path} is part {number} of {count} of a model, which its name does not say",
            f"the first part is to be called NAME-00001-of-{count:05}.gguf, the others likewise",
        )
    for place in places:
        if not os.path.lexists(place):
            raise ContentError(f"{place} is missing, one of {count} parts of a model", INCOMPLETE)
    if number > 1:
        raise ContentError(
            f"{path} is part {number} of {count} of a model", f"open the first: {places[0]}"
        )


def _joined(files: list[Gguf]) -> Gguf:
    whole = files[0]
    for part in files[1:]:
        twice = whole.tensors.keys() & part.tensors.keys()
        if twice:
            raise ContentError(f"{part.path} has the tensor {min(twice)} of another part again")
        whole.tensors |= part.tensors
    told = whole.metadata.get("split.tensors.count", len(whole.tensors))
    if told != len(whole.tensors):
        what = f"its parts have {len(whole.tensors)} tensors, split.tensors.count is {told}"
        raise ContentError(f"{whole.path}: {what}", INCOMPLETE)
    return whole
