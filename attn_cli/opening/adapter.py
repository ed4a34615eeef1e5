"""A LoRA adapter as PEFT saves it: what it adds to the matrices of a model that is open.

https://huggingface.co/docs/peft: adapter_config.json, and adapter_model.safetensors or .bin with
names such as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.lora import LowRank, added
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import PATH, ContentError, shorten, some
from attn_cli.model.composite import naming_of_text, text_alone
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model, output_matrix
from attn_cli.model.tensors import OUTPUT, of_layers
from attn_cli.model.weights import Stored, as_stored, reorders, transposed
from attn_cli.opening import hub
from attn_cli.opening.patterns import matches
from attn_cli.strict import read_json_object

CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_A, _B, _MAGNITUDE = "lora_A", "lora_B", "lora_magnitude_vector"
_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector)(\.weight)?"
)
# What only training and starting it read.
_HARMLESS = frozenset(
    """
    auto_mapping base_model_name_or_path revision task_type inference_mode lora_dropout
    megatron_config megatron_core loftq_config eva_config corda_config lora_ga_config peft_version
    ensure_weight_tying modules_to_save bias fan_in_fan_out qalora_group_size runtime_config
    enable_lora merge_weights layers_pattern
    """.split()
)
# What changes the computation, unless it is one of these.
_NOT_COMPUTED = {
    "layer_replication": (), "trainable_token_indices": (), "target_parameters": ([],),
    "alora_invocation_tokens": (), "arrow_config": (), "velora_config": (), "kasa_config": (),
    "monteclora_config": (), "use_bdlora": (False,), "use_qalora": (False,),
    "lora_bias": (False,), "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}  # fmt: skip
_BASE = "give the model that it was made for: {}"


class Settings(NamedTuple):
    """What an adapter's config says of its matrices."""

    reader: ConfigReader
    rank: int
    alpha: float
    root: bool
    dora: bool
    targets: tuple[str, ...] | str
    excluded: tuple[str, ...] | str
    layers: tuple[int, ...]
    ranks: Mapping[str, Any]
    alphas: Mapping[str, Any]

    def scale(self, module: str) -> tuple[int, float]:
        """The rank of a module's matrices, and what their product is multiplied with."""
        rank = self._of(self.ranks, module, self.rank)
        alpha = self._of(self.alphas, module, self.alpha)
        return int(rank), alpha / (rank**0.5 if self.root else rank)

    def _of(self, patterns: Mapping[str, Any], module: str, default: float) -> float:
        """The number of the first pattern that a module's name ends with."""
        for pattern, number in patterns.items():
            if matches(rf"(.*\.)?({pattern})$", module):
                if type(number) not in (int, float) or number <= 0:
                    raise self.reader.error(f"{shorten(pattern)} has no number above 0")
                return number
        return default

    def means(self, module: str) -> bool:
        """Whether the adapter is for this module, as PEFT reads its config."""
        if _named(self.excluded, module):
            return False
        if self.targets == "all-linear":
            return module != OUTPUT.removesuffix(".weight")
        layer = re.match(r".*?\.[^.]*\.(\d+)\.", module)
        inside = not self.layers or (layer is not None and int(layer[1]) in self.layers)
        return inside and _named(self.targets, module)


def _named(names: tuple[str, ...] | str, module: str) -> bool:
    if isinstance(names, str):
        return bool(names) and matches(rf"(?:{names})\Z", module)
    return any(module == name or module.endswith(f".{name}") for name in names)


def adapted(model: Model, name: str) -> Model:
    """The model with the adapter in the folder `name`, or of that name in the Hugging Face cache:
    no matrix that it leaves alone is touched. What it changes of a part that sees pictures is left
    out with that part.

    Raises ContentError for what is no adapter, or for another model, or not computed here.
    """
    path, own = Path(name), ""
    if not os.path.lexists(path) and (cached := hub.folder_of(name)):
        path, own = cached, name
    tensors = _tensors(path, name)
    where = str(path / CONFIG)
    values = read_json_object(path / CONFIG)
    unknown: list[str] = []
    settings = _settings(ConfigReader(values, where, model.ignored, unknown=unknown))
    base = values.get("base_model_name_or_path")
    hint = _BASE.format(shorten(base)) if isinstance(base, str) and base else ""
    tensors, unread = _of_text(model, tensors)
    if unread[0] and not tensors:
        what = f"{path}: the adapter changes only what sees pictures"
        raise ContentError(what, f"attn reads the text part of {model.facts.name} alone")
    found = _Fitting(model, str(path), hint).all(tensors, settings)
    stored = {**model.weights.stored, **{n: Stored(place, f) for n, (place, f, _) in found.items()}}
    used = {place: tensor for place, _, tensor in found.values()}
    places = (one.name for one in stored.values() if one.name not in used)
    kept = {place: model.weights.tensors[place] for place in places}
    facts = replace(
        model.facts,
        name=f"{model.facts.name} + {own or path.resolve().name}",
        adapter=own or str(path),
    )
    weights = replace(model.weights, tensors={**kept, **used}, stored=stored)
    return replace(
        model, facts=facts, weights=weights, unknown=(*model.unknown, *unknown),
        unread=(model.unread[0] + unread[0], model.unread[1] + unread[1]),
    )  # fmt: skip


def _may_see_pictures(model: Model) -> bool:
    """Whether it may be the text of a picture model: a GGUF file does not say so."""
    return bool(model.reserved or model.metadata)


def _of_text(
    model: Model, tensors: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], tuple[int, int]]:
    """Without what is for pictures, if the model may be of these: how many tensors and numbers."""
    if not _may_see_pictures(model):
        return tensors, (0, 0)
    text, unread = text_alone({name.removeprefix(_PREFIX): of for name, of in tensors.items()})
    return {name: of for name, of in tensors.items() if name.removeprefix(_PREFIX) in text}, unread


def _tensors(path: Path, name: str) -> dict[str, Tensor]:
    if not os.path.lexists(path):
        hint = "a folder with adapter_config.json"
        if hub.could_be(name):
            hint += f", or a repository that hf download {name} brings here"
        raise ContentError(f"no adapter {shorten(str(path), PATH)}", hint)
    files = [path / file for file in _WEIGHTS if os.path.lexists(path / file)]
    if not os.path.lexists(path / CONFIG) or not files:
        lacks = CONFIG if files or not os.path.lexists(path / CONFIG) else _WEIGHTS[0]
        hint = f"a folder with {CONFIG} and {_WEIGHTS[0]}"
        raise ContentError(f"{path} is no LoRA adapter: it has no {lacks}", hint)
    if files[0].suffix == ".bin":
        from attn_cli.checkpoints.torch import open_torch

        return open_torch(files[0])
    return open_safetensors(files[0])


def _settings(reader: ConfigReader) -> Settings:
    kind = reader.choice("peft_type", ("LORA",))
    reader.only("use_dora", False, True)
    for key, neutral in _NOT_COMPUTED.items():
        reader.only(key, *neutral)
    layers = reader.numbers("layers_to_transform")
    found = Settings(
        reader=reader,
        rank=reader.integer("r", 8),
        alpha=reader.positive("lora_alpha", 8),
        root=reader.flag("use_rslora", False),
        dora=reader.flag("use_dora", False),
        targets=reader.text_or_texts("target_modules"),
        excluded=reader.text_or_texts("exclude_modules"),
        layers=layers,
        ranks=reader.mapping("rank_pattern"),
        alphas=reader.mapping("alpha_pattern"),
    )
    if layers:
        reader.only("layers_pattern", [], "layers", ["layers"])
    reader.leave({*_HARMLESS, kind})
    return found


class _Placed(NamedTuple):
    """Where a tensor stands, how its numbers are arranged, and the tensor."""

    place: str
    arrange: Any
    tensor: Tensor


class _Fitting:
    """Puts an adapter's tensors beside a model's."""

    def __init__(self, model: Model, where: str, hint: str) -> None:
        self._model, self._where, self._hint = model, where, hint
        family, config = model.family, model.config
        naming = family.naming(config)
        self._naming = naming_of_text(naming) if _may_see_pictures(model) else naming
        self._raised = family.gguf.raised if model.metadata and family.gguf else 0.0
        self._shapes = of_layers(family.shapes(config), config)
        # A matrix is (input, output) in families whose biases are as long as its second axis.
        self._inputs_first = any(
            len(shape) == 2 and shape[0] != shape[1]
            and self._shapes.get(f"{name.removesuffix('.weight')}.bias") == shape[1:]
            for name, shape in self._shapes.items()
        )  # fmt: skip

    def _error(self, what: str, hint: str = "") -> ContentError:
        return ContentError(f"{self._where}: {what}", hint or self._hint)

    def all(self, tensors: Mapping[str, Tensor], settings: Settings) -> dict[str, _Placed]:
        """What the adapter changes, by the family's names."""
        modules: dict[str, dict[str, Tensor]] = {}
        whole: dict[str, Tensor] = {}
        for place, tensor in tensors.items():
            name = place.removeprefix(_PREFIX)
            part = _PART.fullmatch(name)
            if part:
                modules.setdefault(part["module"], {})[part["part"]] = tensor
            else:
                whole[name.replace(".base_layer.", ".")] = tensor
        if not tensors:
            raise self._error("the adapter is empty", "it changes nothing")
        found: dict[str, _Placed] = {}
        for place, tensor in whole.items():
            name = self._name(place, place)
            if tensor.shape != self._shapes[name]:
                raise self._unfit(place, tensor.shape, self._shapes[name])
            self._check_single(name, place)
            arrange = self._norm if name.removesuffix(".weight").endswith("norm") else as_stored
            found[name] = _Placed(f"adapter: {place}", arrange, tensor)
        for module, parts in modules.items():
            if not settings.means(module):
                what = f"the config does not name {shorten(module)}, which the adapter changes"
                raise self._error(f"{what}", "target_modules and the file do not fit each other")
            name = self._name(f"{module}.weight", module)
            stored, tensor = self._model.weights.stored[name], self._model.weights.tensor(name)
            # A part of a larger tensor stands alone once it is changed.
            base = _Placed(name if stored.part else stored.name, stored.arrange, tensor)
            found[name] = self._low_rank(name, module, parts, settings, found.get(name, base))
        return found

    def _name(self, place: str, shown: str) -> str:
        """The family's name for a tensor that the adapter changes."""
        name = self._naming.family_name(place)
        if name == OUTPUT and name not in self._shapes and self._model.config.tied:
            raise self._shared(shown)
        if name not in self._shapes or name not in self._model.weights.stored:
            who = self._model.facts.name
            hint = "a GGUF file may have it in another form: open the folder that it was made from"
            what = f"the adapter changes {shorten(shown)}, which {who} does not have"
            raise self._error(what, hint if self._model.metadata else "")
        return name

    def _norm(self, weight: np.ndarray) -> np.ndarray:
        """The weight of a norm as the model's own file has it."""
        return weight + weight.dtype.type(self._raised) if self._raised else weight

    def _check_single(self, name: str, shown: str) -> None:
        """Raises ContentError where the matrix is the embedding and the output matrix at once."""
        if self._model.config.tied and name == output_matrix(self._model):
            raise self._shared(shown)

    def _shared(self, shown: str) -> ContentError:
        return self._error(
            f"the adapter changes {shorten(shown)} alone, and in {self._model.facts.name} the "
            "embedding is the output matrix too",
            "merge the two: merge_and_unload() and save_pretrained() of PEFT",
        )

    def _unfit(self, what: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> ContentError:
        shown, asked = (" × ".join(map(str, shape)) for shape in (found, wanted))
        what = f"{shorten(what)} of the adapter is {shown}"
        return self._error(f"{what}, the config and the model ask for {asked}")

    def _low_rank(
        self, name: str, module: str, parts: Mapping[str, Tensor], settings: Settings, base: _Placed
    ) -> _Placed:
        embeds = any("embedding" in part for part in parts)
        first, second = ("lora_embedding_A", "lora_embedding_B") if embeds else (_A, _B)
        needed = {first, second, *((_MAGNITUDE,) if settings.dora else ())}
        if set(parts) != needed or (embeds and settings.dora):
            what = f"{shorten(module)} has {some(sorted(parts))}, not {some(sorted(needed))}"
            raise self._error(what, "attn computes A and B, and with use_dora their magnitude")
        if embeds:
            self._check_single(name, module)
        rank, scale = settings.scale(module)
        shape = self._shapes[name]
        # What A takes and B gives: the rows and the columns of an embedding.
        inputs_first = embeds or self._inputs_first
        inputs, outputs = shape if inputs_first else shape[::-1]
        for part, wanted in {first: (rank, inputs), second: (outputs, rank)}.items():
            if parts[part].shape != wanted:
                raise self._unfit(f"{module}.{part}", parts[part].shape, wanted)
        arrange = base.arrange
        turned = inputs_first != (arrange is transposed)
        order = None
        if reorders(arrange):
            order = np.argsort(arrange(np.arange(base.tensor.shape[0])))
        if settings.dora and turned:
            raise self._error(f"{shorten(module)}: DoRA of a matrix that is stored by inputs")
        left, right = (parts[first], parts[second]) if turned else (parts[second], parts[first])
        change = LowRank(left, right, scale, turned, order, parts.get(_MAGNITUDE))
        return base._replace(tensor=added(base.tensor, change))
