"""How a folder says that its weights are quantised, and the tensors that they stand for.

Each method's own keys are read as strictly as a model's: one is used, known to change no number,
refused by name, or noted as unknown. A method that is not here is refused by its name.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from attn_cli.checkpoints.floats import FLOATS
from attn_cli.checkpoints.packed import columns, fours, mxfp4, rows
from attn_cli.checkpoints.packed.modules import Format, Module, unpacked
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, shorten
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family
from attn_cli.model.tensors import Shapes
from attn_cli.model.weights import Stored, transposed
from attn_cli.opening.patterns import MOST, first_of, matches
from attn_cli.opening.refusals import SECTIONS, quantised_by


class Scheme(NamedTuple):
    """What a folder's config says of its weights: their `form` and, in words, `how` they are kept.

    `skipped` are patterns of modules that are not quantised. `rounds`: the library that the weights
    are for rounds what enters a matrix, too.
    """

    form: Format
    how: str
    skipped: tuple[str, ...] = ()
    rounds: bool = False

    def unpack(self, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        """The tensors under plain names. Raises ContentError for what does not fit."""
        if len(self.skipped) > MOST:
            what = f"{where}: the config leaves {len(self.skipped):,} modules out"
            raise ContentError(what, f"attn knows what up to {MOST:,} mean")
        left_out = first_of(self.skipped)
        for module in {module.name for module in self.form.modules(tensors, where).values()}:
            if pattern := left_out(module):
                what = f"{where}: {module} is quantised, though the config says that it is not"
                raise ContentError(what, f"{shorten(pattern)!r} is among the modules left out")
        return unpacked(tensors, self.form, where)


def read_scheme(
    values: Mapping[str, Any], where: str, ignored: Collection[str], unknown: list[str]
) -> Scheme | None:
    """What a config says, at the top or in `text_config`; None where it says nothing.

    Keys that mean nothing are added to `unknown`. Raises ContentError for a method or a value that
    attn does not read.
    """
    text = values.get("text_config")
    for place, inner in ((values, ""), (text, "text_config: ")):
        for key in SECTIONS if isinstance(place, Mapping) else ():
            section = place.get(key)
            if section is None or key in ignored:
                continue
            read = _METHODS.get(_method(section, key))
            if read is None:
                raise quantised_by(section, key, f"{where}: {inner}")
            reader = ConfigReader(
                section, f"{where}: {inner}{key}", ignored, within=f"{key}.", unknown=unknown
            )
            return read(reader, section)
    return None


def _method(section: Any, key: str) -> str:
    """The method that a section names, as the reference reads it."""
    if not isinstance(section, Mapping):
        return ""
    if section.get("load_in_4bit") or section.get("load_in_8bit"):
        return "bitsandbytes"
    kind = section.get("quant_method")
    if kind is None and (key == "quantization" or "group_size" in section):
        return "mlx"
    return kind if isinstance(kind, str) else ""


def turned(
    tensors: Mapping[str, Tensor], stored: Mapping[str, Stored], family: Family, config: Any
) -> dict[str, Stored]:
    """The quantised matrices that a family has (input, output): libraries keep none of them so.

    GGUF files have none so either, and a family tells what it does to theirs.
    """
    arranged = family.gguf.arrange(config) if family.gguf else {}
    own = {name for name, arrange in arranged.items() if arrange is transposed}
    return {
        name: kept._replace(arrange=transposed)
        for name, kept in (stored.items() if own else ())
        if re.sub(r"\.\d+\.", ".*.", name) in own and tensors[kept.name].dtype not in FLOATS
    }


def idle_biases(
    tensors: Mapping[str, Tensor], stored: Mapping[str, Stored], shapes: Shapes
) -> list[str]:
    """The family's names of biases of quantised matrices that it has no place for, and that are 0.

    Some programs that quantise write one for every matrix; the reference library passes over them.
    """
    found = []
    for name in stored.keys() - shapes.keys():
        weight = stored.get(f"{name.removesuffix('bias')}weight")
        if name.endswith(".bias") and weight and tensors[weight.name].dtype not in FLOATS:
            found += [] if tensors[stored[name].name].read().any() else [name]
    return found


# --- the methods ---------------------------------------------------------------------------------

# How the numbers were found, and what runs them.
_MADE = frozenset(
    """
    quant_method method meta damp_percent damp_auto_increment static_groups true_sequential
    model_name_or_path model_file_base_name tokenizer dataset batch_size pad_token_id lm_head
    backend use_exllama exllama_config max_input_length model_seqlen use_cuda_fp16 disable_exllama
    block_name_to_quantize module_name_preceding_first_block cache_block_outputs desc_act sym
    act_group_aware modules_in_block_to_quantize mse device pack_impl offload_to_disk gptaq foem
    exllama_version do_fuse fuse_max_seq_len modules_to_fuse zero_point
    """.split()
)


def _groups(reader: ConfigReader, key: str = "group_size", default: int = 128) -> int:
    if reader.integer(key, default, low=-1) == 0:
        raise reader.error(f"{key} is 0, not a number above 0, or -1 for one group")
    return reader.integer(key, default, low=-1)


def _in_groups(bits: int, size: int) -> str:
    return f"{bits} bits, in groups of {size}" if size > 0 else f"{bits} bits, a scale per output"


def _gptq(reader: ConfigReader) -> Scheme:
    reader.take("format", "checkpoint_format")
    kind = reader.choice("format", ("gptq", "gptq_v2"), "gptq")
    bits, size = reader.integer("bits"), _groups(reader)
    if bits not in (2, 3, 4, 8):
        raise reader.error(f"bits is {bits}", "GPTQ has 2, 3, 4 or 8")
    reader.only("pack_dtype", "int32")
    for key in ("is_marlin_format", "dynamic", "rotation", "adapter"):
        reader.only(key, False, {})
    acts = reader.flag("desc_act", False)
    reader.leave(_MADE)
    form = columns.gptq(bits=bits, group_size=size, offset=int(kind == "gptq"), acts=acts)
    return Scheme(form, f"GPTQ, {_in_groups(bits, size)}")


def _awq(reader: ConfigReader) -> Scheme:
    reader.take("bits", "w_bit")
    reader.take("group_size", "q_group_size")
    reader.take("format", "version")
    bits, size = reader.integer("bits", 4), _groups(reader)
    if bits != 4:
        raise reader.error(f"bits is {bits}", "AWQ has 4")
    kind = reader.choice("format", ("gemm", "GEMM"), "gemm")
    reader.only("zero_point", True)
    skipped = reader.texts("modules_to_not_convert")
    reader.leave(_MADE)
    how = f"AWQ ({kind.lower()}), {_in_groups(bits, size)}"
    return Scheme(columns.awq(group_size=size), how, skipped)


def _bitsandbytes(reader: ConfigReader) -> Scheme:
    four, eight = reader.flag("load_in_4bit", False), reader.flag("load_in_8bit", False)
    if four == eight:
        raise reader.error("not one of load_in_4bit and load_in_8bit is true")
    kind = reader.choice("bnb_4bit_quant_type", ("nf4", "fp4"), "fp4")
    twice = reader.flag("bnb_4bit_use_double_quant", False)
    reader.only("llm_int8_has_fp16_weight", False)
    skipped = reader.texts("llm_int8_skip_modules")
    reader.leave(_MADE | _OF_BITSANDBYTES)
    if eight:
        return Scheme(rows.int8(), "bitsandbytes, 8 bits, a scale per output", skipped, rounds=True)
    how = f"bitsandbytes, {kind}" + (", scales quantised too" if twice else "")
    return Scheme(fours.four_bits(), how, skipped)


_OF_BITSANDBYTES = frozenset(
    """
    _load_in_4bit _load_in_8bit bnb_4bit_compute_dtype bnb_4bit_quant_storage
    llm_int8_enable_fp32_cpu_offload llm_int8_threshold
    """.split()
)


def _fp8(reader: ConfigReader) -> Scheme:
    block = None
    if not reader.says("weight_block_size") or reader.has("weight_block_size"):
        block = reader.sizes("weight_block_size", 2, (128, 128))
    reader.only("fmt", "e4m3")
    reader.only("expert_dtype", "fp8")
    reader.choice("scale_fmt", ("float", "ue8m0"), "float")
    reader.choice("activation_scheme", ("dynamic", "static"), "dynamic")
    skipped = reader.texts("modules_to_not_convert") + reader.texts("ignored_layers")
    reader.leave(_MADE | {"dequantize", "modules_to_convert", "weight_block_size"})
    of = f"in blocks of {block[0]} × {block[1]}" if block else "a scale per matrix"
    return Scheme(rows.fp8(block), f"FP8 (e4m3), {of}", skipped, rounds=True)


def _fbgemm(reader: ConfigReader) -> Scheme:
    skipped = reader.texts("modules_to_not_convert")
    reader.leave(_MADE | {"activation_scale_ub"})
    form = rows.fp8(None, by_output=True)
    return Scheme(form, "FBGEMM FP8 (e4m3), a scale per output", skipped, rounds=True)


def _mlx(reader: ConfigReader, section: Mapping[str, Any]) -> Scheme:
    bits, size = _mlx_sizes(reader)
    others, skipped = {}, []
    for name, value in section.items():
        if isinstance(value, dict):
            others[name] = _mlx_sizes(reader.section(name))
        elif value is False:
            skipped.append(f"^{re.escape(name)}$")
    reader.leave(_MADE | {name for name, value in section.items() if type(value) is bool})
    return Scheme(rows.mlx(bits, size, others), f"MLX, {_in_groups(bits, size)}", tuple(skipped))


def _mlx_sizes(reader: ConfigReader) -> tuple[int, int]:
    """The bits and the size of groups of a module, or of all."""
    reader.only("mode", "affine")
    bits, size = reader.integer("bits"), reader.integer("group_size", 64)
    if bits not in (2, 3, 4, 5, 6, 8) or size not in (16, 32, 64, 128):
        known = "2, 3, 4, 5, 6 or 8 bits, in groups of 16, 32, 64 or 128"
        raise reader.error(f"bits is {bits} and group_size {size}", f"MLX has {known}")
    return bits, size


def _mxfp4(reader: ConfigReader) -> Scheme:
    """Which products a library makes of the blocks is no matter: these stand for the numbers."""
    skipped = reader.texts("modules_to_not_convert")
    reader.leave(_MADE | {"dequantize"})
    return Scheme(mxfp4.mxfp4(), "MXFP4, 4 bits, in groups of 32", skipped)


# --- compressed-tensors --------------------------------------------------------------------------

_OF_COMPRESSED = ("int-quantized", "float-quantized", "naive-quantized", "pack-quantized")
_WHOLE = {"tensor": (0, 0), "channel": (1, 0)}


def _compressed(reader: ConfigReader) -> Scheme:
    kind = reader.choice("format", _OF_COMPRESSED)
    groups, rounds = [], False
    every = reader.section("config_groups")
    for name in reader.mapping("config_groups"):
        group = every.section(name)
        for key in ("output_activations", "kv_cache_scheme"):
            group.only(key)
        targets = group.texts("targets")
        one = group.choice("format", _OF_COMPRESSED, kind)
        groups.append((targets, _compressed_group(group.section("weights"), one)))
        rounds = rounds or bool(group.mapping("input_activations"))
        group.leave()
    for key in ("kv_cache_scheme", "moe_sparsity_config"):
        reader.only(key)
    reader.only("transform_config", {})
    reader.section("sparsity_config").only("format", "dense")
    skipped = tuple(map(_of_target, reader.texts("ignore")))
    known = "global_compression_ratio quantization_status run_compressed dequantize version"
    reader.leave(_MADE | set(known.split()))

    how = ", ".join(dict.fromkeys(f"{s.bits}-bit {s.kind}" for _, s in groups))
    form = rows.compressed(_by_target({t: one for targets, one in groups for t in targets}))
    return Scheme(form, f"compressed-tensors ({kind}), {how}", skipped, rounds)


def _by_target(schemes: Mapping[str, rows.Scheme]) -> Callable[[Module], rows.Scheme]:
    """What finds a module's scheme as `match_targets` of compressed-tensors does: by its name, else
    by the first pattern in order of the alphabet, else as a matrix of its kind."""
    patterns = sorted(target for target in schemes if target.startswith("re:"))

    def scheme_of(module: Module) -> rows.Scheme:
        fitting = (target for target in patterns if matches(target[3:], module.name))
        kind = "Embedding" if module.name.endswith(_TABLES) else "Linear"
        for target in (module.name, *fitting, kind):
            if target in schemes:
                return schemes[target]
        raise module.error(f"{module.name} is quantised, and no group of config_groups names it")

    return scheme_of


# How the names of the tables of tokens end.
_TABLES = ("embed_tokens", "embed_in", "embeddings", "wte")


def _of_target(target: str) -> str:
    """A name, or after `re:` what one begins with, as a pattern of `_matches`."""
    return target[3:] + ".*" if target.startswith("re:") else f"^{re.escape(target)}$"


def _compressed_group(reader: ConfigReader, kind: str) -> rows.Scheme:
    """How the weights of one group are kept."""
    bits, of = reader.integer("num_bits", 8), reader.choice("type", ("int", "float"), "int")
    packed = kind == "pack-quantized"
    if bits not in ((2, 4, 8) if packed and of == "int" else (8,)):
        raise reader.error(f"num_bits is {bits} of type {of} in the format {kind}")
    how = reader.choice("strategy", (*_WHOLE, "group", "block"))
    block = _WHOLE.get(how, (1, 0))
    if how == "group":
        block = 1, reader.integer("group_size")
    elif how == "block":
        block = reader.sizes("block_structure", 2)
    reader.only("actorder", "group", "weight", "static", "dynamic", False)
    reader.only("dynamic", False)
    symmetric = reader.flag("symmetric", True)
    reader.leave(
        {"group_size", "block_structure", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"}
    )
    return rows.Scheme(of, bits, packed, symmetric, block)


_METHODS: dict[str, Callable[[ConfigReader, Mapping[str, Any]], Scheme]] = {
    "gptq": lambda reader, _: _gptq(reader),
    "awq": lambda reader, _: _awq(reader),
    "bitsandbytes": lambda reader, _: _bitsandbytes(reader),
    "fp8": lambda reader, _: _fp8(reader),
    "fbgemm_fp8": lambda reader, _: _fbgemm(reader),
    "compressed-tensors": lambda reader, _: _compressed(reader),
    "mlx": _mlx,
    "mxfp4": lambda reader, _: _mxfp4(reader),
}
