"""Any tokenizer.json, read by the `tokenizers` library: its ids and offsets, our tokens.

The package is in the extra `models`, and is imported where it is needed.
"""

import base64
import codecs
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError, shorten, size
from attn_cli.files import read_bytes
from attn_cli.strict import Limit, json_object, too_many
from attn_cli.tokens import guarded, origins, refused
from attn_cli.tokens.token import MASKS, Token, no_pairs

EXTRA_HINT = 'pip install "attn-cli[models]"'
IDS_HINT = guarded.IDS_HINT
# Bytes of a file, and of the memory that the library takes for it: about so many for each list,
# object and value. Gemma's file has 33 MB and takes half as much memory as this.
_SMALL, _LARGEST_FILE, _MOST = 2_000_000, 200_000_000, 600_000_000
_COSTS = {b"[": 400, b"{": 1000, b",": 90}
_CHECKED = Limit(64_000_000, 1 << 20)  # what is read once more to say what is wrong with it
_MOST_IDS = 1 << 24
_SEEN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_UNSEEN = [byte for byte in range(0x100) if byte not in _SEEN]
# GPT-2's alphabet: a visible Latin-1 character stands for its byte, the others follow from U+0100.
ALPHABET = {byte: byte for byte in _SEEN} | {byte: 0x100 + n for n, byte in enumerate(_UNSEEN)}
_BYTES = {chr(char): byte for byte, char in ALPHABET.items()}
_FALLBACK = re.compile("<0x([0-9A-F]{2})>")
# Merges that lack such a prefix make the library end the process; no published model has one. An
# escape in the key would hide it, so that keys of strings and lists may have none; all escaped, it
# has 150 characters.
_FATAL = re.compile(rb'"continuing_subword_prefix"\s*:\s*"[^"]')
_MERGES = re.compile(rb'"merges"\s*:\s*\[')
_ADDED = re.compile(rb'"added_tokens"\s*:\s*\[')
_BEGINNING, _JSON = 1 << 20, json.JSONDecoder()
_HIDDEN = re.compile(rb'\\u[0-9A-Fa-f]{4}([^"]{0,150}[^"\\])?"\s*:\s*["[]')


def spell(text: str) -> str:
    """`text` in the characters that byte-level vocabularies write its bytes with."""
    return text.encode().decode("latin-1").translate(ALPHABET)


def load() -> Any:
    """The package `tokenizers`; a ContentError with the command that installs it."""
    try:
        import tokenizers
    except ImportError:
        raise ContentError("this tokenizer needs the package tokenizers", EXTRA_HINT) from None
    return tokenizers


class LibraryTokenizer:
    """A tokenizer (see `Tokenizer`) over one of the library's.

    `Token.text` is what the entry stands for (` the` for `Ġthe` and `▁the`); only continuations
    keep their mark (`##ing`). Bytes that are not UTF-8 appear in it as `<0xE4>`. `mask` is what the
    configs call the mask token; without, a special token with one of the usual names is taken for
    it. Where not `typed`, the segments of a pair are all 0.
    """

    problem = ""
    _cuts_words = True

    def __init__(
        self,
        library: Any,
        older: "LibraryTokenizer | None" = None,
        *,
        mask: str = "",
        typed: bool = True,
    ) -> None:
        # A file can carry the settings of somebody's batches; nothing is to be cut or filled here.
        library.no_truncation()
        library.no_padding()
        self._library = library
        self.older, self._named_mask, self._typed = older, mask, typed
        self._added = library.get_added_tokens_decoder()
        self._decoder = library.decoder
        steps = _steps(library.decoder) + _steps(library.pre_tokenizer)
        self._is_risky = guarded.is_risky(steps + _steps(library.normalizer), library.model)
        kinds = {step["type"] for step in steps}
        self._byte_level, self._has_fallback = "ByteLevel" in kinds, "ByteFallback" in kinds
        marks = [step.get("replacement") for step in steps if step["type"] == "Metaspace"]
        replaced = [step for step in steps if step["type"] == "Replace" and step["content"] == " "]
        marks += [step["pattern"].get("String") for step in replaced]
        self._space = next(filter(None, marks), " ")

    @cached_property
    def size(self) -> int:
        ids = self._library.get_vocab()
        if len(set(ids.values())) < len(ids):
            _refuse_twice(ids)
        return max(ids.values(), default=-1) + 1

    @cached_property
    def unknown(self) -> int:
        model = self._library.model
        name = getattr(model, "unk_token", "<unk>")  # Unigram tells it with all of its pieces alone
        id = None if name is None else self._library.token_to_id(name)
        if id is None and type(model).__name__ == "Unigram":
            id = json.loads(model.__getstate__())["unk_id"]
        return -1 if id is None else id

    @cached_property
    def mask(self) -> int:
        if self._named_mask:
            return self._added_ids.get(self._named_mask, -1)
        special = {token.content for token in self._added.values() if token.special}
        return next((self._added_ids[text] for text in MASKS if text in special), -1)

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        """Special tokens written in the text are recognised. Raises ContentError for a byte that a
        byte-level vocabulary has no entry for: the library would drop it without a word."""
        return self._encode((text,), special)[0]

    def pair(
        self, text: str, second: str, *, special: bool = True
    ) -> tuple[tuple[Token, ...], tuple[int, ...]]:
        """In the form that the file or the class has for pairs. There is none where nothing would
        stand between the two."""
        with guarded.quiet():
            count = self._library.num_special_tokens_to_add
            if count(True) <= count(False):
                raise no_pairs()
        tokens, types = self._encode((text, second) if second else (text,), special)
        return tokens, types if self._typed else (0,) * len(tokens)

    def _encode(
        self, texts: tuple[str, ...], special: bool
    ) -> tuple[tuple[Token, ...], tuple[int, ...]]:
        found = self._found(texts, special)
        tokens: list[Token] = []
        end, starts = 0, (0, len(texts[0]))
        spans = zip(found.ids, found.offsets, found.sequence_ids, strict=True)
        for id, span, segment in spans:
            added = segment is None
            tokens.append(self._make(id, (end, end) if added else _moved(span, starts[segment])))
            end = tokens[-1].span[1]
        if self._byte_level and self.unknown < 0:
            self._refuse_lost_bytes(texts, tokens)
        return tuple(tokens), tuple(found.type_ids)

    def _found(self, texts: tuple[str, ...], special: bool) -> Any:
        """What the library gives. Raises ContentError where that is nothing."""

        def encode() -> Any:
            library = self._library_for(" ".join(texts))
            return library.encode(*texts, add_special_tokens=special)

        try:
            return self._asked(encode, sum(map(len, texts)), "read this prompt")
        except ContentError:
            raise
        except Exception as error:  # the library has no class of its own; half a surrogate pair
            what = "the tokenizer has no tokens for this prompt, and no unknown token"
            raise ContentError(what) from error

    def _asked(self, call: Callable[[], Any], characters: int, what: str) -> Any:
        """What a call of the library gives. Raises ContentError where it cannot do `what` it is."""
        try:
            if self._is_risky:
                guarded.try_out(call, characters, what)
            with guarded.quiet():
                return call()
        except guarded.Panicked as problem:
            said = f"the model's tokenizer cannot {what}: the library gave up over it"
            raise ContentError(said, IDS_HINT) from problem

    def explain(self, text: str) -> tuple[origins.Part, ...]:
        found = self._found((text,), False)
        words = found.word_ids if self._cuts_words else [0] * len(found)
        whole = zip(found.ids, found.tokens, found.offsets, words, strict=True)
        cuts = [
            origins.Cut(id, entry, span, self._how(id, entry, text[slice(*span)]), word)
            for id, entry, span, word in whole
        ]
        return origins.explained(cuts, self._algorithm)

    def _how(self, id: int, entry: str, written: str) -> str:
        """How a token came about that is no ordinary entry."""
        added = self._added.get(id)
        if added and (id != self.unknown or written.strip() == added.content):
            return origins.FOUND
        if id == self.unknown:
            return origins.UNKNOWN
        return origins.BYTES if self._has_fallback and _FALLBACK.fullmatch(entry) else ""

    @cached_property
    def _algorithm(self) -> origins.Algorithm:
        if self.size > _MOST_IDS:  # the library writes a list of all ids below
            what = f"the tokenizer has ids up to {self.size - 1:,}: what merges into what"
            raise ContentError(f"{what} cannot be told", "attn trace shows the tokens")
        return self._asked(lambda: explaining(self._library.model), 0, "say how it makes tokens")

    def decode(self, ids: Iterable[int]) -> str:
        entries = [entry for id in ids if (entry := self._entry(id)) is not None]
        if not self._decoder:
            return " ".join(entries)
        what = "write these tokens as a text"
        try:
            count = sum(map(len, entries))
            return self._asked(lambda: self._decoder.decode(entries), count, what)
        except ContentError:
            raise
        except Exception as error:  # the library has no class of its own
            raise ContentError(f"the model's tokenizer cannot {what}") from error

    def token(self, id: int) -> Token:
        if self._entry(id) is None:
            raise KeyError(id)
        return self._make(id, (0, 0))

    def id_of(self, text: str) -> int:
        """The id of the token whose text, or whose entry as it is spelled, is `text`; else -1."""
        spelled = spell(text) if self._byte_level else text.replace(" ", self._space)
        return next((id for id in map(self._id, (spelled, text)) if id is not None), -1)

    def added(self, text: str) -> int:
        return self._added_ids.get(text, -1)

    @cached_property
    def _added_ids(self) -> dict[str, int]:
        return {token.content: id for id, token in self._added.items()}

    def _library_for(self, text: str) -> Any:
        return self._library

    def _entry(self, id: int) -> str | None:
        return self._library.id_to_token(id) if 0 <= id < 2**32 else None

    def _id(self, entry: str) -> int | None:
        return self._library.token_to_id(entry)

    def _make(self, id: int, span: tuple[int, int]) -> Token:
        if id in self._added:
            added = self._added[id]
            return Token(id=id, text=added.content, span=span, special=added.special)
        raw = self._bytes(self._entry(id) or "")
        text, whole = _readable(raw)
        return Token(id=id, text=text, span=span, bytes=b"" if whole else raw)

    def readable(self, entry: str) -> str:
        return _readable(self._bytes(entry))[0]

    def _bytes(self, entry: str) -> bytes:
        """The bytes of the prompt that an entry stands for."""
        if self._byte_level and all(char in _BYTES for char in entry):
            return bytes(map(_BYTES.__getitem__, entry))
        if self._has_fallback and (byte := _FALLBACK.fullmatch(entry)):
            return bytes.fromhex(byte[1])
        return entry.replace(self._space, " ").encode()

    def _refuse_lost_bytes(self, texts: tuple[str, ...], tokens: list[Token]) -> None:
        normalizer, size = self._library.normalizer, sum(map(len, texts))
        if normalizer:
            texts = self._asked(
                lambda: tuple(map(normalizer.normalize_str, texts)), size, "read this prompt"
            )
        raw = "".join(texts).encode()
        for byte in set(raw):
            if self._id(chr(ALPHABET[byte])) is None:
                inside = (token for token in tokens if token.span[0] < token.span[1])
                kept = b"".join(token.bytes or token.text.encode() for token in inside)
                if kept.count(byte) < raw.count(byte):
                    what = f"the model's vocabulary has no token for the byte 0x{byte:02X}"
                    raise ContentError(what, "take its character out of the prompt")


def _readable(raw: bytes) -> tuple[str, bool]:
    """Bytes as a text, and whether they are one: what is not UTF-8 is there as `<0xE4>`."""
    text = raw.decode(errors="surrogateescape")
    shown = re.sub("[\udc80-\udcff]", lambda m: f"<0x{ord(m[0]) - 0xDC00:02X}>", text)
    return shown, shown == text


def explaining(model: Any) -> origins.Algorithm:
    """How one of the library's models makes tokens, by what it says of itself."""
    told = json.loads(model.__getstate__())
    kind = told["type"]
    if kind == "BPE":
        pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in told["merges"])
        ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
        return origins.by_rank(ranks, whole=told.get("ignore_merges", False))
    if kind == "WordPiece":
        return origins.by_longest(told["vocab"].__contains__, told["continuing_subword_prefix"])
    if kind == "Unigram":
        return origins.by_sum(dict(map(tuple, told["vocab"])))
    return origins.whole_words if kind == "WordLevel" else origins.by_nothing


def parse(path: Path) -> tuple[Any, bytes]:
    """What a tokenizer.json alone says, as the library's object, and the file's contents.

    Raises ContentError that names the file when it won't do.
    """
    library = load()
    contents = read_bytes(Path(path), limit=_LARGEST_FILE).removeprefix(codecs.BOM_UTF8)
    counted = _COSTS if len(contents) > _SMALL else {}
    memory = sum(cost * contents.count(mark) for mark, cost in counted.items())
    if memory > _MOST:
        what = f"{path} has more values than a tokenizer's file can have"
        raise ContentError(f"{what}: reading it would take {size(memory)}", IDS_HINT)
    ends = _HIDDEN.search(contents) or (_FATAL.search(contents) and _MERGES.search(contents))
    try:
        if ends:
            raise ValueError
        with guarded.quiet():
            found = library.Tokenizer.from_buffer(contents)
            _check_post_processor(found.post_processor)
    except (ValueError, guarded.Panicked) as error:
        what = ""
        if not too_many(contents, _CHECKED):
            what = refused.what(library, json_object(contents, str(path), _CHECKED))
        if ends and not what:
            what = "its model has merges and a continuing_subword_prefix"
        hint = f"the package tokenizers {library.__version__} does not know its contents"
        said = f"{path} is not a tokenizer.json that can be read{what and ': '}{what}"
        raise ContentError(said, hint) from error
    if chance := getattr(found.model, "dropout", None):
        what = f"{path} leaves out merges by chance (dropout {chance:g})"
        raise ContentError(f"{what}: no two readings need agree", IDS_HINT)
    _check_added(path, found, contents)
    return found, contents


def _check_added(path: Path, found: Any, contents: bytes) -> None:
    """Raises ContentError for an added token whose id, as the file has it, is another token's."""
    start = _ADDED.search(contents)
    try:
        rest = contents[start.end() - 1 :] if start else b"[]"
        # The whole of a large file need not be decoded.
        for part in (rest[:_BEGINNING].decode(errors="ignore"), rest.decode()):
            with suppress(ValueError):
                told = {token["content"]: token["id"] for token in _JSON.raw_decode(part)[0]}
                break
        else:
            return
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    _refuse_twice(told, f"{path}: ")
    for content, id in told.items():
        other = found.id_to_token(id) if type(id) is int and 0 <= id < 2**32 else None
        if other not in (None, content) and found.token_to_id(content) != id:
            _refuse_twice({other: id, content: id}, f"{path}: ")


def _refuse_twice(ids: Mapping[str, int], where: str = "") -> None:
    """Raises ContentError that names two tokens of one id."""
    first: dict[int, str] = {}
    for token, id in sorted(ids.items()):  # the library's order is by chance
        if id in first:
            names = f"{shorten(first[id])!r} and {shorten(token)!r}"
            raise ContentError(
                f"{where}the tokenizer gives the id {id} to two tokens, {names}",
                "the file may be damaged",
            )
        first[id] = token


def _moved(span: tuple[int, int], by: int) -> tuple[int, int]:
    return span[0] + by, span[1] + by


def charsmap_of(library: Any) -> Any:
    """The normalizer of a SentencePiece file that a tokenizer has among its steps, or None."""
    found = (step.get("precompiled_charsmap") for step in _steps(library.normalizer))
    charsmap = next(filter(None, found), None)
    return charsmap and load().normalizers.Precompiled(base64.b64decode(charsmap))


def _steps(part: Any) -> list[dict[str, Any]]:
    """What a normalizer, a decoder or another part does, one step after the other."""
    steps = [json.loads(part.__getstate__())] if part else []
    for step in steps:
        for name in ("decoders", "pretokenizers", "processors", "normalizers"):
            steps += step.get(name, [])
    return steps


def _check_post_processor(part: Any) -> None:
    """A ValueError for a template whose tokens are not defined: the library panics over it."""
    for step in _steps(part):
        for piece in (*step.get("single", ()), *step.get("pair", ())):
            if piece.get("SpecialToken", {"id": None})["id"] not in (None, *step["special_tokens"]):
                raise ValueError
