"""From a config.json to a family, its config, and how its tensors are named in the folder."""

import importlib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from attn_cli.checkpoints.tensor import Tensor
from attn_cli.families import COMPOSITES, FAMILIES
from attn_cli.model.composite import naming_of_text, text_alone, text_part
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family
from attn_cli.model.tensors import Naming
from attn_cli.opening import refusals


class Read(NamedTuple):
    """What a config.json says: the family, its config, and the keys that mean nothing.

    Of a `composite` these are its text's; `reserved` as in `Model`.
    """

    family: Family
    config: Any
    unknown: tuple[str, ...]
    composite: bool = False
    reserved: Mapping[int, str] = MappingProxyType({})

    @property
    def naming(self) -> Naming:
        """How the folder names the family's tensors."""
        own = self.family.naming(self.config)
        return naming_of_text(own) if self.composite else own

    def tensors(self, found: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], tuple[int, int]]:
        """Those of the text, and how many others there are, with how many parameters."""
        return text_alone(found) if self.composite else (found, (0, 0))


def read_config(values: Mapping[str, Any], where: str, ignored: Sequence[str] = ()) -> Read:
    """What becomes of a config.json. Raises ContentError if it cannot be honoured exactly."""
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in COMPOSITES:
        family, reader = family_named(values, where), ConfigReader(values, where, ignored)
        return Read(family, family.read_config(reader), tuple(reader.unknown))
    from attn_cli.families.composites import SIZES, TYPES

    text = text_part(TYPES[kind], values, where, ignored)
    within = {"model_type": text.kind}
    family = family_named(within, f"{where}: text_config", known=FAMILIES.keys() - COMPOSITES)
    reader = text.reader.with_defaults(SIZES.get(text.kind, {}))
    config = family.read_config(reader)
    return Read(family, config, tuple(reader.unknown), True, text.reserved)


def family_named(
    values: Mapping[str, Any],
    where: str,
    key: str = "model_type",
    known: Collection[str] = FAMILIES.keys(),
) -> Family:
    """The family that `key` names. Raises ContentError for one that is not `known`."""
    kind = values.get(key)
    of_mixtures = f"{kind}.expert_count"
    if key != "model_type" and of_mixtures in FAMILIES and values.get(of_mixtures):
        kind = of_mixtures
    if not isinstance(kind, str) or kind not in known:
        raise refusals.unknown_type(values, where, dict.fromkeys(FAMILIES.values()), key)
    return importlib.import_module(f"attn_cli.families.{FAMILIES[kind]}").FAMILY


def end_ids(config: Mapping[str, Any], generation: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end a text, of a config, or else of the text in it, and of that of sampling."""
    text = config.get("text_config")
    inner = text.get("eos_token_id") if isinstance(text, Mapping) else None
    own = config.get("eos_token_id")
    return ids(inner if own is None else own, generation.get("eos_token_id"))


def ids(*given: Any) -> tuple[int, ...]:
    """Ids, or lists of them, each once; what is neither is left out."""
    values = (v for value in given for v in (value if isinstance(value, list) else [value]))
    return tuple(dict.fromkeys(v for v in values if type(v) is int and v >= 0))
