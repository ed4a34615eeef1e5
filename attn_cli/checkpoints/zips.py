"""What the zips of PyTorch and of numpy share: a directory read sparingly, and plain members."""

import zipfile
from typing import Any

MOST = 2_000_000  # bytes of a directory: enough for 20,000 members
_ENCRYPTED = 1
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Damaged(Exception):
    """The bytes are no zip that numpy or PyTorch writes."""


class _Sparing:
    """Hands out a directory as long as one may be: zipfile reads whatever length it claims."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MOST:
            raise Damaged
        return self._file.read(size)


def members(file: Any) -> dict[str, zipfile.ZipInfo]:
    """The members of an open zip by name. Raises Damaged with what is wrong."""
    try:
        with zipfile.ZipFile(_Sparing(file)) as archive:
            listed = archive.infolist()
    except Exception:  # zipfile raises a dozen kinds for a damaged directory
        raise Damaged("its directory is damaged") from None
    found: dict[str, zipfile.ZipInfo] = {}
    for info in listed:
        name = ascii(info.filename[:60])
        if info.filename in found:
            raise Damaged(f"two members {name}")
        if info.flag_bits & _ENCRYPTED:
            raise Damaged(f"an encrypted member {name}")
        if info.compress_type not in _PACKED:
            raise Damaged(f"a member {name} that is packed in an unknown way")
        found[info.filename] = info
    return found
