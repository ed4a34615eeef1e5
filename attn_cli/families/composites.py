"""The model types whose config has that of a text in it: see `model/composite.py`.

What a text is, how it is tied, and which ids are reserved, as the reference library's classes say.
"""

from collections.abc import Mapping
from typing import Any

from attn_cli.model.composite import Composite

_IMAGE, _IMAGE_ID = "image_token_index", "image_token_id"
_OF_QWEN = {
    _IMAGE_ID: 151_655, "video_token_id": 151_656, "vision_start_token_id": 151_652,
    "vision_end_token_id": 151_653,
}  # fmt: skip
_QWEN2_VL = Composite(text="qwen2_vl_text", fixed=True, flat=True, either=True, reserved=_OF_QWEN)
_IDEFICS3 = Composite(text="llama", reserved={_IMAGE_ID: 128_257})

TYPES = {
    "gemma3": Composite(
        text="gemma3_text", fixed=True, tied=True,
        reserved={_IMAGE: 262_144, "boi_token_index": 255_999, "eoi_token_index": 256_000},
    ),
    "idefics3": _IDEFICS3,
    "internvl": Composite(text="qwen2", tied=True, reserved={_IMAGE_ID: 151_667}),
    "llava": Composite(text="llama", either=True, reserved={_IMAGE: 32_000}),
    "llava_next": Composite(text="llama", reserved={_IMAGE: 32_000}),
    "llava_onevision": Composite(
        text="qwen2", either=True, reserved={_IMAGE: 151_646, "video_token_index": 151_647}
    ),
    "mistral3": Composite(text="mistral", tied=True, reserved={_IMAGE: 10}),
    "qwen2_vl": _QWEN2_VL,
    "qwen2_5_vl": _QWEN2_VL,
    "qwen3_vl": Composite(text="qwen3_vl_text", fixed=True, reserved=_OF_QWEN),
    "smolvlm": _IDEFICS3,
}  # fmt: skip

# GGUF files name no reserved ids: the tokens are known by their texts. Those of `_ALONE` no text
# model has, but for some that stand there where another does; the others are in the vocabularies of
# text models too, and reserved where the architecture, or what else a file holds, is of pictures.
_GEMMA = "<image_soft_token>"
_ALONE = {
    "<image>": "", "<IMG_CONTEXT>": "", _GEMMA: "", "<start_of_image>": _GEMMA,
    "<end_of_image>": _GEMMA,
}  # fmt: skip
_SHARED = (
    "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<video>", "[IMG]",
)  # fmt: skip
_ARCHITECTURES = frozenset({"mistral3", "qwen2vl", "qwen25vl", "qwen3vl"})


def reserved_texts(architecture: str, *, pictures: bool) -> Mapping[str, str]:
    """The texts of a GGUF file's tokens that stand for pictures, each with that of another without
    which it does not; `pictures`: the file has tensors for these."""
    of_pictures = pictures or architecture in _ARCHITECTURES
    return _ALONE | (dict.fromkeys(_SHARED, "") if of_pictures else {})


# The sizes of the reference's classes, which published files leave out of a `text_config`.
_OF_LLAMA = {
    "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2048,
}  # fmt: skip
_OF_QWEN2 = _OF_LLAMA | {
    "vocab_size": 151_936, "intermediate_size": 22_016, "num_key_value_heads": 32,
    "max_position_embeddings": 32_768,
}  # fmt: skip
SIZES: Mapping[str, Mapping[str, Any]] = {
    "llama": _OF_LLAMA,
    "mistral": _OF_LLAMA | {
        "intermediate_size": 14_336, "num_key_value_heads": 8, "max_position_embeddings": 131_072,
    },
    "qwen2": _OF_QWEN2,
    "qwen3": _OF_QWEN2,
}  # fmt: skip
