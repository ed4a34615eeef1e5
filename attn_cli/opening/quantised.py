"""How a folder says that its weights are quantised, and the tensors that they stand for.

Each method's own keys are read as strictly as a model's: one is used, known to change no number,
refused by name, or noted as unknown. A method that is not here is refused by its name.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from attn_cli.checkpoints.packed import columns
from attn_cli.checkpoints.packed.modules import Format, unpacked
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, shorten
from attn_cli.model.config import ConfigReader
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
        for module in {module.name for module in self.form.modules(tensors, where).values()}:
            pattern = next((p for p in self.skipped if _matches(p, module)), "")
            if pattern:
                what = f"{where}: {module} is quantised, though the config says that it is not"
                raise ContentError(what, f"{shorten(pattern)!r} is among the modules left out")
        return unpacked(tensors, self.form, where)


def _matches(pattern: str, module: str) -> bool:
    """Whether a pattern of `modules_to_not_convert` means a module, as the reference has it."""
    if module.endswith(pattern):
        return True
    try:
        return bool(re.match(rf"(?:{pattern})(?:(?<=\.)|(?=\.|$))", module))
    except re.error:
        return False


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
            return read(reader)
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


_METHODS: dict[str, Callable[[ConfigReader], Scheme]] = {"gptq": _gptq, "awq": _awq}
