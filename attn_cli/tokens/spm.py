"""SentencePiece files (`tokenizer.model`, `spm.model`), turned into the library's tokenizers.

What is made is what the reference library makes of the same folder: which class of tokenizer its
tokenizer_config.json names decides how pieces become a model and what is done to a text before.
The package `sentencepiece` gives pieces, scores and kinds. The few settings that it keeps to itself
are read from the model's own bytes (its format: sentencepiece_model.proto), once it has taken them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attn_cli.errors import ContentError, shorten
from attn_cli.files import read_bytes
from attn_cli.strict import looks_like
from attn_cli.tokens import classes, guarded, special
from attn_cli.tokens.library import EXTRA_HINT, IDS_HINT, LibraryTokenizer, load

NAMES = ("tokenizer.model", "spm.model", "spiece.model", "sentencepiece.bpe.model")
_LARGEST, _MOST = 16_000_000, 500_000  # bytes of a file, and pieces: Gemma has 262,144 in 4.7 MB
_Piece = tuple[str, float]
_MARKED = _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 3, 4, 5, 6


class _File(NamedTuple):
    """A SentencePiece model: its pieces, which of them are not ordinary, and its settings."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    control: tuple[str, ...]
    user_defined: tuple[str, ...]
    ordinary: frozenset[int]
    unknown: int
    named: Mapping[str, str]
    is_bpe: bool
    byte_fallback: bool
    charsmap: bytes
    dummy_prefix: bool
    fewer_spaces: bool
    escape_spaces: bool


def read(path: Path) -> LibraryTokenizer:
    """The tokenizer of a SentencePiece file, with the configs that stand beside it.

    Raises ContentError for a file that is none, or a class of tokenizer that is not known.
    """
    file, package = _read_file(path), load()
    config, architecture = special.settings(path.parent), special.config(path.parent, "config.json")
    name = _ALONE.get(str(architecture.get("model_type"))) or classes.name_of(config, architecture)
    if name not in _KINDS:
        what = f"the class {shorten(name)!r}" if name else "no class"
        known = ", ".join(filter(None, _KINDS))
        raise ContentError(f"{path.parent} names {what} of tokenizer; attn knows {known}", IDS_HINT)
    try:
        with guarded.quiet():
            if not name and file.is_bpe:
                file = _renamed(file, config)
            made, kind = _KINDS[name](file, name, config, package), classes.KINDS.get(name)
            # Without a class, the file's symbols are cut out before merging, no text normalised.
            names = special.named(config, kind.names if kind else file.named)
            further = [(text, True) for text in file.control]
            further += [(text, False) for text in (file.user_defined if kind else ())]
            if name == "T5Tokenizer":
                further += [(f"<extra_id_{n}>", True) for n in range(_extra_ids(config))]
            if kind and isinstance(config.get("extra_special_tokens", {}), list | None):
                further = []  # the config's list is the whole one, even if empty
            elif kind:
                config.pop("additional_special_tokens", None)
            special.add(
                made, classes.spaced(config, name, names), names, further, normalize=bool(kind)
            )
            around = kind.around if kind else None
            form = around(names) if around else special.ends(config, names)
            made.post_processor = special.around(made, form)
            return LibraryTokenizer(made, **classes.answers(name, config, names))
    except ContentError:
        raise
    except Exception as error:  # the library has no class of its own
        raise ContentError(f"{path} cannot be turned into a tokenizer", IDS_HINT) from error


def _renamed(file: _File, config: Mapping[str, Any]) -> _File:
    """The file with the pieces that the config calls otherwise, which then are merged no more."""
    pieces, ordinary = list(file.pieces), set(file.ordinary)
    for id, entry in (config.get("added_tokens_decoder") or {}).items():
        if 0 <= int(id) < len(pieces) and special.text(entry) != pieces[int(id)]:
            pieces[int(id)] = special.text(entry)
            ordinary.discard(int(id))
    return file._replace(pieces=tuple(pieces), ordinary=frozenset(ordinary))


# --- the file ------------------------------------------------------------------------------------


def _read_file(path: Path) -> _File:
    try:
        import sentencepiece
    except ImportError:
        raise ContentError("this tokenizer needs the package sentencepiece", EXTRA_HINT) from None
    data = read_bytes(path, limit=_LARGEST)
    sentencepiece.SetMinLogLevel(3)  # or odd pieces get lines on stderr between attn's own
    model = sentencepiece.SentencePieceProcessor()
    try:
        if not data or not model.LoadFromSerializedProto(data):
            raise ValueError
        if (count := model.get_piece_size()) > _MOST:
            raise ContentError(f"{path} has {count:,} pieces; attn reads up to {_MOST:,}", IDS_HINT)
        ids = list(range(count))
        pieces, scores = tuple(model.id_to_piece(ids)), tuple(model.get_score(ids))
        kinds, trainer, normalizer = _parts(data)
    except ContentError:
        raise
    except Exception:  # the library has no class of its own
        looks = looks_like(data[:64])
        hint = f"it looks like {looks}" if looks else IDS_HINT
        what = f"{path} is not a SentencePiece model{'' if data else ': it is empty'}"
        raise ContentError(what, hint) from None
    if trainer.get(3, 1) not in (1, 2):
        what = "is of words or characters; attn reads SentencePiece's unigram and BPE models"
        raise ContentError(f"{path} {what}", IDS_HINT)
    charsmap = normalizer.get(2)
    named = {"unk": model.unk_id(), "bos": model.bos_id(), "eos": model.eos_id()}
    return _File(
        pieces=pieces,
        scores=scores,
        control=tuple(pieces[id] for id in kinds[_CONTROL]),
        user_defined=tuple(pieces[id] for id in kinds[_USER_DEFINED]),
        ordinary=frozenset(ids).difference({model.unk_id()}, *(kinds[kind] for kind in _MARKED)),
        unknown=model.unk_id(),
        named={name: pieces[id] for name, id in named.items() if id >= 0},
        is_bpe=trainer.get(3, 1) == 2,
        byte_fallback=bool(kinds[_BYTE]),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",  # the package passes over others
        dummy_prefix=bool(normalizer.get(3, 1)),
        fewer_spaces=bool(normalizer.get(4, 1)),
        escape_spaces=bool(normalizer.get(5, 1)),
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message in protobuf's wire format."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 63:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or number()
        yield key >> 3, data[at : at + size]
        at += size


def _parts(data: bytes) -> tuple[dict[int, list[int]], dict[int, Any], dict[int, Any]]:
    """The ids of pieces by their type, and the fields of `trainer_spec` and `normalizer_spec`.

    Pieces are messages 1 of a model, with the type as field 3 where it is not the ordinary one; the
    others are 2 and 3. The package tells neither user-defined pieces nor these settings.
    """
    kinds: dict[int, list[int]] = {kind: [] for kind in _MARKED}
    specs: dict[int, dict[int, Any]] = {2: {}, 3: {}}
    id = 0
    for number, value in _fields(data):
        if number == 1:
            if b"\x18" in value:
                kinds.setdefault(dict(_fields(value)).get(3, 1), []).append(id)
            id += 1
        elif number in specs:
            specs[number] |= dict(_fields(value))
    if not all(specs.values()):  # every model has both, after the pieces: the file is cut off
        raise ValueError
    return kinds, specs[2], specs[3]


# --- the kinds of tokenizer ----------------------------------------------------------------------


def _merges_of(
    pieces: Mapping[str, Any], rank: Callable[[str, int], tuple[float, ...]]
) -> list[tuple[str, str]]:
    """Two pieces merge if together they are one: a piece and where it is cut, by their rank."""
    found = [
        (piece, at)
        for piece in pieces
        for at in range(1, len(piece))
        if piece[:at] in pieces and piece[at:] in pieces
    ]
    found.sort(key=lambda cut: rank(*cut))
    return [(piece[:at], piece[at:]) for piece, at in found]


def _by_id(file: _File) -> list[tuple[str, str]]:
    """The lowest id first, then the shortest beginning."""
    ids = {piece: id for id, piece in enumerate(file.pieces)}
    return _merges_of(ids, lambda piece, at: (ids[piece], at))


def _by_score(file: _File) -> list[tuple[str, str]]:
    """The best score first, among ordinary pieces alone, as SentencePiece itself merges."""
    ranks = {file.pieces[id]: (-file.scores[id], id) for id in file.ordinary}
    return _merges_of(ranks, lambda piece, at: (*ranks[piece], at))


def _bpe(file: _File, package: Any, merges: list[tuple[str, str]], **options: Any) -> Any:
    ids = {piece: id for id, piece in enumerate(file.pieces)}
    return package.Tokenizer(package.models.BPE(ids, merges, **{"fuse_unk": True, **options}))


def _merging(file: _File, name: str, config: Mapping[str, Any], package: Any) -> Any:
    kind = classes.KINDS[name]
    named = special.named(config, kind.names)["unk"]
    made = _bpe(file, package, _by_id(file), **{"unk_token": named, **kind.options})
    for part, value in kind.parts(package, config, None).items():
        setattr(made, part, value)
    return made


def _extra_ids(config: Mapping[str, Any]) -> int:
    extra = config.get("extra_ids", 100)
    if type(extra) is not int or not 0 <= extra <= 10_000:
        raise ContentError("extra_ids is no number up to 10,000", IDS_HINT)
    return extra


def _unigram(
    order: Callable[[_File, Mapping[str, str], Mapping[str, Any]], tuple[list[_Piece], int]],
) -> Callable[[_File, str, Mapping[str, Any], Any], Any]:
    """A class whose vocabulary and unknown token's id are what `order` makes of the pieces."""

    def make(file: _File, name: str, config: Mapping[str, Any], package: Any) -> Any:
        kind = classes.KINDS[name]
        vocabulary, unknown = order(file, special.named(config, kind.names), config)
        made = package.Tokenizer(package.models.Unigram(vocabulary, unknown, False))
        charsmap = package.normalizers.Precompiled(file.charsmap) if file.charsmap else None
        for part, value in kind.parts(package, config, charsmap).items():
            setattr(made, part, value)
        return made

    return make


def _pieces(file: _File) -> list[_Piece]:
    return [*zip(file.pieces, file.scores, strict=True)]


def _t5(file: _File, _: Any, config: Mapping[str, Any]) -> tuple[list[_Piece], int]:
    extra = [(f"<extra_id_{n}>", 0.0) for n in reversed(range(_extra_ids(config)))]
    return [*_pieces(file), *extra], 2


def _deberta(file: _File, names: Mapping[str, str], _: Any) -> tuple[list[_Piece], int]:
    vocabulary, unknown = _pieces(file), (names["unk"], 0.0)
    return vocabulary, vocabulary.index(unknown) if unknown in vocabulary else file.unknown


def _albert(file: _File, _names: Any, _config: Any) -> tuple[list[_Piece], int]:
    return _pieces(file), 1


def _xlm(file: _File, names: Mapping[str, str], _: Any) -> tuple[list[_Piece], int]:
    """In fairseq's order: its own special tokens come first and last."""
    first = [(names[role], 0.0) for role in ("bos", "pad", "eos", "unk")]
    return [*first, *_pieces(file)[3:], (names["mask"], 0.0)], 3


def _camembert(file: _File, names: Mapping[str, str], _: Any) -> tuple[list[_Piece], int]:
    first = [("<s>NOTUSED", 0.0), (names["pad"], 0.0), ("</s>NOTUSED", 0.0), (names["unk"], 0.0)]
    rest = [("<unk>NOTUSED", -100.0), *_pieces(file)[1:], (names["mask"], 0.0)]
    return [*first, *rest], 3


def _as_the_file_says(file: _File, _: str, config: Mapping[str, Any], package: Any) -> Any:
    """SentencePiece's own settings: normalizer, prefix, scores, and symbols that are never cut."""
    if file.is_bpe:
        options = {"byte_fallback": file.byte_fallback, "unk_token": file.pieces[file.unknown]}
        whole = bool(file.user_defined)
        made = _bpe(file, package, _by_score(file), ignore_merges=whole, **options)
    else:
        vocabulary = [*zip(file.pieces, file.scores, strict=True)]
        model = package.models.Unigram(vocabulary, file.unknown, file.byte_fallback)
        made = package.Tokenizer(model)
    forms, cuts, regex = package.normalizers, package.pre_tokenizers, package.Regex
    legacy = config.get("legacy", True)
    steps = [forms.Precompiled(file.charsmap)] if file.charsmap else []
    if file.fewer_spaces:
        steps += [forms.Replace(regex(r"\A +| +\z"), ""), forms.Replace(regex(" {2,}"), " ")]
    steps += [forms.Replace(" ", "▁")] if file.escape_spaces else []
    steps += [forms.Replace(regex(r"\A▁"), "▁▁")] if file.dummy_prefix and legacy else []
    made.normalizer = forms.Sequence(steps)
    scheme = "always" if legacy else "first"
    before = [cuts.Metaspace("▁", scheme, split=False)] if file.dummy_prefix else []
    if file.user_defined:
        longest_first = sorted(file.user_defined, key=len, reverse=True)
        before.append(cuts.Split(regex("|".join(map(re.escape, longest_first))), "isolated"))
    if before:
        made.pre_tokenizer = cuts.Sequence(before)
    made.decoder = classes.spaces(package, prefix=file.dummy_prefix, bytes_too=file.byte_fallback)
    return made


# Classes of models whose tokenizer.json speaks for itself, where there is none.
_ALONE = {"umt5": "T5Tokenizer"}
_KINDS: dict[str, Callable[[_File, str, Mapping[str, Any], Any], Any]] = {
    "": _as_the_file_says,
    "LlamaTokenizer": _merging,
    "GemmaTokenizer": _merging,
    "T5Tokenizer": _unigram(_t5),
    "DebertaV2Tokenizer": _unigram(_deberta),
    "AlbertTokenizer": _unigram(_albert),
    "XLMRobertaTokenizer": _unigram(_xlm),
    "CamembertTokenizer": _unigram(_camembert),
}
