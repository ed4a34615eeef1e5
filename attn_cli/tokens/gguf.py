"""The tokenizer that a GGUF file carries in its metadata; where it merges, built with the library.

llama.cpp decides what the keys mean and what holds where one is absent (src/llama-vocab.cpp).
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from typing import Any, NamedTuple

from attn_cli.errors import ContentError, shorten
from attn_cli.tokens import gguf_unigram, gguf_words, guarded
from attn_cli.tokens.gguf_keys import CONTROL, UNKNOWN, USER_DEFINED, Keys
from attn_cli.tokens.library import LibraryTokenizer, load, spell
from attn_cli.tokens.origins import Algorithm, by_rank, by_score
from attn_cli.tokens.pairs import merged
from attn_cli.tokens.pretokenizers import PRE_TOKENIZERS
from attn_cli.tokens.token import Tokenizer

# Giving the library 49,000 tokens takes 45 ms; only what can occur in a short text takes 10.
_SHORT, _CUTS = 400, 3
# The added tokens of Phi-3 that leave the white space after them.
_PHI3_LEAVES = ("<unk>", "<s>", "<|endoftext|>")


def from_metadata(metadata: Mapping[str, Any], where: str) -> Tokenizer:
    """The tokenizer that `metadata` describes; `where` names the file in errors.

    Raises ContentError for one that is malformed or not supported.
    """
    data = Keys(metadata, where)
    model = data.get("model", "")
    if model in _PLAIN:
        return _PLAIN[model](data)
    if not model:
        raise ContentError(
            f"{where} has no tokenizer.ggml.model, so no tokenizer", guarded.IDS_HINT
        )
    if model not in _KINDS:
        known = ", ".join((*_KINDS, *_PLAIN))
        raise data.broken(f"is of the kind {shorten(model)!r}; attn reads {known}")
    try:
        with guarded.quiet():
            return _GgmlTokenizer(data, _KINDS[model](data))
    except guarded.Panicked as problem:
        raise data.broken("is none that the library can make") from problem


class _Kind(NamedTuple):
    """A kind of vocabulary. `spelled`: a text as tokens spell it, None where that takes more than
    replacing characters. `model`: of these ids, with what a text that is spelled so can need;
    `algorithm`: how it makes tokens; `cut` cuts a text itself, into no words."""

    spelled: Callable[[str], str | None]
    model: Callable[[dict[str, int], str | None], Any]
    algorithm: Callable[[], Algorithm]
    parts: dict[str, Any]
    add_bos: bool
    bos: int = -1
    eos: int = -1
    unknown: int = -1
    cut: Any = None


class _GgmlTokenizer(LibraryTokenizer):
    """Gives the library its vocabulary when it encodes, at first only what the text can use."""

    def __init__(self, data: Keys, kind: _Kind) -> None:
        self._data, self._kind, self._tokens = data, kind, data.items("tokens", str)
        self.size, self.unknown, self._cuts, self._whole = len(self._tokens), kind.unknown, 0, False
        package, self._marked = load(), data.marked()
        library = package.Tokenizer(self._model(""))
        for name, part in kind.parts.items():
            setattr(library, name, part)
        takes = _taking_space(data)
        for special, kinds in ((True, {UNKNOWN, CONTROL}), (False, {USER_DEFINED})):
            texts = [self._tokens[id] for id, type in self._marked.items() if type in kinds]
            flags = {"normalized": False, "special": special}
            added = [package.AddedToken(text, rstrip=takes(text), **flags) for text in texts]
            library.add_tokens(added)
        ends = data.ends(bos=kind.bos, eos=kind.eos, add_bos=kind.add_bos, add_eos=False)
        names = [list(map(str, ids)) for ids in ends]
        tokens = [{"id": str(id), "ids": [id], "tokens": [""]} for id in sorted({*sum(ends, ())})]
        single = [*names[0], "$A", *names[1]]
        library.post_processor = package.processors.TemplateProcessing(
            single=single, pair=[*single, *names[2], "$B", *names[3]], special_tokens=tokens
        )
        super().__init__(library)
        self._cuts_words = kind.cut is None
        self.mask = data.mask()
        if kind.cut:  # which the library does not tell anything of
            library.pre_tokenizer = kind.cut

    def _ids(self, spelled: str | None) -> dict[str, int]:
        if spelled is None:
            return {token: id for id, token in enumerate(self._tokens)}
        # All that merging makes on the way to the tokens of a text is a part of that text.
        tokens = enumerate(self._tokens if spelled else ())
        ids = {token: id for id, token in tokens if token in spelled}
        return ids | {self._tokens[id]: id for id in (*self._marked, self.unknown) if id >= 0}

    def _model(self, spelled: str | None) -> Any:
        try:
            return self._kind.model(self._ids(spelled), spelled)
        except Exception as error:  # the library has no class of its own
            raise self._data.broken("merges tokens that it does not have") from error

    @cached_property
    def _algorithm(self) -> Algorithm:
        return self._kind.algorithm()

    def _library_for(self, text: str) -> Any:
        if not self._whole:
            short = self._cuts < _CUTS and len(text) <= _SHORT
            spelled = self._kind.spelled(text) if short else None
            self._library.model = self._model(spelled)
            self._cuts, self._whole = self._cuts + 1, spelled is None
        return self._library

    def _entry(self, id: int) -> str | None:
        return self._tokens[id] if 0 <= id < self.size else None

    def _id(self, entry: str) -> int | None:
        return self._tokens.index(entry) if entry in self._tokens else None


def _byte_level(data: Keys) -> _Kind:
    name, package = data.get("pre", "default"), load()
    if name not in PRE_TOKENIZERS:
        raise data.broken(f"cuts text in the unknown way {shorten(name)!r}")
    pre, merges, cuts = PRE_TOKENIZERS[name], data.items("merges", str), package.pre_tokenizers
    splits = [cuts.Split(package.Regex(regex), "isolated") for regex in pre.splits]
    alphabet = cuts.ByteLevel(add_prefix_space=False, use_regex=False)
    parts = {
        "normalizer": package.normalizers.NFC() if pre.nfc else None,
        "pre_tokenizer": cuts.Sequence([*splits, alphabet]),
        "decoder": package.decoders.ByteLevel(),
    }

    def spelled(text: str) -> str | None:
        return None if pre.nfc and not text.isascii() else spell(text)

    def model(ids: dict[str, int], spelled: str | None) -> Any:
        pairs = merges if spelled != "" else []
        if spelled:
            pairs = [pair for pair in merges if pair.replace(" ", "", 1) in spelled]
        parts = [pair.partition(" ")[::2] for pair in pairs]
        return package.models.BPE(ids, parts, ignore_merges=pre.whole)

    def algorithm() -> Algorithm:
        ranks = {pair.partition(" ")[::2]: rank for rank, pair in enumerate(merges)}
        return by_rank(ranks, whole=pre.whole)

    return _Kind(spelled, model, algorithm, parts, pre.add_bos)


def _sentencepiece(data: Keys) -> _Kind:
    tokens, package, unknown = data.items("tokens", str), load(), data.id("unknown", 0)
    scores, marked = data.items("scores", float, len(tokens)), data.marked()
    prefix = "▁" if data.get("add_space_prefix", True) else ""
    forms, back = package.normalizers, package.decoders
    before = [forms.Prepend(prefix)] if prefix else []
    after = [back.Strip(" ", 1, 0)] if prefix else []
    steps = [back.Replace("▁", " "), back.ByteFallback(), back.Fuse(), *after]
    parts = {
        "normalizer": forms.Sequence([*before, forms.Replace(" ", "▁")]),
        "decoder": back.Sequence(steps),
    }

    ranks = dict(zip(tokens, scores, strict=True))

    def spelled(text: str) -> str | None:
        # After an added token the prefix comes once more. Bytes are kept by their mark.
        kept = marked and not any(tokens[id] in text for id in marked)
        return prefix + text.replace(" ", "▁") if kept else None

    def model(ids: dict[str, int], spelled: str | None) -> Any:
        options = {"ignore_merges": True, "byte_fallback": True, "fuse_unk": True}
        return package.models.BPE(ids, [], unk_token=tokens[unknown], **options)

    cut = _Merged(ranks)
    return _Kind(
        spelled, model, lambda: by_score(cut.rank), parts, add_bos=True, bos=1, eos=2,
        unknown=unknown, cut=package.pre_tokenizers.PreTokenizer.custom(cut),
    )  # fmt: skip


class _Merged:
    """What the library asks how to cut a text: into the pieces that merging ends with."""

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._scores = scores

    def rank(self, left: str, right: str) -> float | None:
        """The best score first."""
        score = self._scores.get(left + right)
        return None if score is None else -score

    def pre_tokenize(self, text: Any) -> None:
        text.split(self._split)

    def _split(self, _: int, part: Any) -> list[Any]:
        pieces = merged(part.normalized, self.rank)
        # What is unknown side by side is one piece.
        runs = groupby(enumerate(pieces), lambda at: at[0] if at[1] in self._scores else -1)
        sizes = (sum(len(piece) for _, piece in run) for _, run in runs)
        return [part[start:end] for start, end in pairwise(accumulate(sizes, initial=0))]


def _taking_space(data: Keys) -> Callable[[str], bool]:
    """Which added tokens take the white space after them: llama.cpp goes by the model's name."""
    name = data.general_name.lower()
    return lambda token: ("phi-3" in name or "phi3" in name) and token not in _PHI3_LEAVES


_KINDS: dict[str, Callable[[Keys], _Kind]] = {"gpt2": _byte_level, "llama": _sentencepiece}
_PLAIN: dict[str, Callable[[Keys], Tokenizer]] = {
    "bert": gguf_words.WordPieces,
    "t5": gguf_unigram.Unigram,
}
