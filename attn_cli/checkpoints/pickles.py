"""The pickle of a torch.save file, walked without running anything.

The standard library's decoder in Python does the walking, with a table of the few opcodes that
torch.save writes; the one in C would take memory for whatever index or length a file claims. What
a pickle asks for by name is looked up in `_KNOWN`: there are only stand-ins for what tensors are
rebuilt from, and all else is refused with its name. https://docs.python.org/3/library/pickle.html
"""

import math
import mmap
import pickle
import re
from typing import Any, ClassVar, NamedTuple

from attn_cli.errors import ContentError, shorten

_LONGEST = 1 << 20  # of one name or frame
# Enough for 8,000 tensors in a file; each byte can become an object of 70.
MOST = 2_000_000
# Names that only say which kind of tensor or of number is meant: honest, but not read here.
_UNREAD = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\.nn\.parameter\.\w+|torch\.storage\.\w+Storage|"
    r"torch\.(Size|device|\w+Storage|u?int\d+|float\w*|bfloat16|complex\d+|bool)"
)
_MAX_AXES, _MAX_SIZE = 64, 1 << 63
# Element types of storages, by the names of their classes.
STORAGES = {
    "FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2),
    "DoubleStorage": ("F64", 8), "LongStorage": ("I64", 8), "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2), "CharStorage": ("I8", 1), "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}  # fmt: skip
_OPCODES = """
    PROTO FRAME STOP MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 NONE NEWTRUE
    NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINSTRING
    SHORT_BINSTRING BINPUT LONG_BINPUT BINGET LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL BINPERSID
    APPEND APPENDS LIST PUT GET INT UNICODE STRING
""".split()


class Storage(NamedTuple):
    """`numel` values of `size` bytes each, which are elsewhere in the file under `key`."""

    key: str
    dtype: str
    size: int
    numel: int


class View(NamedTuple):
    """A tensor as it looks at a storage: its first element, and the steps between elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def numel(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the values follow each other, the last axis fastest."""
        step = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and stride != step:
                return False
            step *= n
        return True


class _Known(NamedTuple):
    """Stands for something that a pickle may ask for; nothing of it can be set or called."""

    name: str


_KNOWN = {
    ("collections", "OrderedDict"): _Known("OrderedDict"),
    ("torch._utils", "_rebuild_tensor"): _Known("_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"): _Known("_rebuild_tensor"),
    ("torch._utils", "_rebuild_parameter"): _Known("_rebuild_parameter"),
} | {("torch", name): _Known(name) for name in STORAGES}


class Broken(Exception):
    """The bytes are not what torch.save writes; the reader of the file says which file."""


class Cursor:
    """Bytes read one after the other, never more than there are, and no value of absurd length."""

    def __init__(self, data: bytes | mmap.mmap, at: int = 0) -> None:
        self._data, self.at, self._end, self._left = data, at, len(data), MOST

    def read(self, count: int) -> bytes:
        """As a file's."""
        if not 0 <= count <= self._end - self.at:
            raise Broken("a pickle that ends too early")
        if count > _LONGEST:
            raise Broken(f"a value of {count:,} bytes")
        self._left -= count
        if self._left < 0:
            raise Broken(f"a pickle of more than {MOST:,} bytes")
        self.at += count
        return self._data[self.at - count : self.at]

    def readline(self) -> bytes:
        """As a file's, without a limit of its own."""
        end = self._data.find(b"\n", self.at, self.at + _LONGEST)
        return self.read(end + 1 - self.at)


class _Walker(pickle._Unpickler):
    """One pickle: what it holds, made of stand-ins."""

    dispatch: ClassVar = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
        for name in _OPCODES
    }

    def __init__(self, cursor: Cursor, where: str) -> None:
        super().__init__(cursor)
        self._where = where

    def load(self) -> Any:
        """As the decoder's; one value must be all that is left."""
        value = super().load()
        if self.stack or self.metastack:
            raise Broken("values that belong to nothing")
        return value

    def find_class(self, module: str, name: str) -> _Known:
        known = _KNOWN.get((module, name))
        if known is None and _UNREAD.fullmatch(f"{module}.{name}"):
            raise ContentError(
                f"{self._where} holds a kind of tensor that attn does not read: "
                f"{shorten(f'{module}.{name}')}",
                "attn reads plain tensors; look for a safetensors version",
            )
        if known is None:
            raise ContentError(
                f"{self._where} asks for {shorten(f'{module}.{name}')}, which no tensor needs: "
                "it was refused, and nothing was run",
                "do not load this file with anything else; look for a safetensors version",
            )
        return known

    def persistent_load(self, pid: Any) -> Storage:
        kinds = tuple(map(type, pid)) if type(pid) is tuple else ()
        whole = kinds[:5] == (str, _Known, str, str, int) and kinds[5:] in ((), (type(None),))
        if not whole or pid[0] != "storage":
            raise Broken("a reference that is no storage")
        if pid[1].name not in STORAGES or not 0 <= pid[4] < _MAX_SIZE:
            raise Broken("a storage of impossible type or size")
        return Storage(pid[2], *STORAGES[pid[1].name], pid[4])

    def _reduce(self) -> None:
        args, known = self.stack.pop(), self.stack[-1]
        if type(args) is not tuple or type(known) is not _Known or known.name not in _MAKE:
            raise Broken("a call of something that is no function")
        self.stack[-1] = _MAKE[known.name](args)

    def _instance(self) -> None:
        """The oldest way to ask for a class: as text, and to call it at once."""
        module, name = (self.readline()[:-1].decode("utf-8", "replace") for _ in range(2))
        self.find_class(module, name)
        raise Broken("an instance, which torch.save does not write")

    def _build(self) -> None:
        """The state of a table: a module's `_metadata`, which says nothing of its tensors."""
        self.stack.pop()
        if type(self.stack[-1]) is not dict:
            raise Broken("a state of something that is no table")

    def _dict(self) -> None:
        pairs = self.pop_mark()
        self.append({})
        _put(self.stack[-1], pairs)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        pairs = self.pop_mark()
        _put(self.stack[-1], pairs)

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.INST[0]] = _instance
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.DICT[0]] = _dict
    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items


def _put(target: Any, pairs: list[Any]) -> None:
    """Keys are names, not tuples that hold themselves many times over or numbers of one hash:
    such keys would keep a dict busy for hours."""
    if type(target) is not dict or len(pairs) % 2:
        raise Broken("entries of something that is no dict")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if type(key) is not str:
            raise Broken("a key that is no name")
        target[key] = value


def _ordered_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    """Empty, as it is saved: its entries follow. Pairs could be had a million times over."""
    if args:
        raise Broken("an OrderedDict made of something")
    return {}


def _rebuild_tensor(args: tuple[Any, ...]) -> View:
    storage, offset, shape, strides = args[:4] if len(args) >= 4 else (None,) * 4
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise Broken("a tensor without a storage, a shape or strides")
    if any(args[6:]):
        raise Broken("a tensor that is to be negated or conjugated")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and 0 <= n < _MAX_SIZE for n in numbers):
        raise Broken("a tensor whose offset, shape or strides are no whole numbers")
    if len(shape) != len(strides) or len(shape) > _MAX_AXES:
        raise Broken("a tensor of impossible shape")
    if 0 in shape and math.prod(n or 1 for n in shape) >= _MAX_SIZE >> 4:  # NumPy's own limit
        raise Broken("a tensor of impossible shape")
    if 0 in shape:  # nothing is stepped along, nor along an axis of one: a stride means nothing
        return View(storage, 0, shape, (0,) * len(shape))
    strides = tuple(0 if n == 1 else step for n, step in zip(shape, strides, strict=True))
    view = View(storage, offset, shape, strides)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= storage.numel:
        raise Broken("a tensor that does not fit in its storage")
    if view.numel > storage.numel:
        raise Broken("a tensor that repeats numbers (expanded), which attn does not read")
    return view


def _rebuild_parameter(args: tuple[Any, ...]) -> View:
    if not args or type(args[0]) is not View:
        raise Broken("a parameter that is no tensor")
    return args[0]


_MAKE = {
    "OrderedDict": _ordered_dict,
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_parameter": _rebuild_parameter,
}


def _opcode(code: Any) -> str:
    named = (name for name in dir(pickle) if getattr(pickle, name) == bytes([code]))
    return next((name for name in named if name.isupper()), str(code))


def walk(cursor: Cursor, where: str) -> Any:
    """What one pickle holds: dicts, lists, numbers, names, and Views. Moves past it.

    Raises ContentError for what it may not ask for, Broken for anything else that is amiss.
    """
    try:
        return _Walker(cursor, where).load()
    except (ContentError, Broken):
        raise
    except KeyError as error:
        raise Broken(f"the opcode {_opcode(error.args[0])}, not one of torch.save's") from None
    except Exception:  # the decoder raises whatever its bytes lead to
        raise Broken("bytes that are no pickle") from None
