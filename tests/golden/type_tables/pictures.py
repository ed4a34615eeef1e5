"""Models for pictures and text, given a text alone; what sees pictures is as small as it can be."""

from type_tables import Golden, Places

_MODEL = Places(layers="model.language_model.layers")
_IDEFICS = Places(layers="model.text_model.layers")
# Where a saved checkpoint has the output projection, if not there.
_LLAVA_OUT = "language_model.model.layers.*.self_attn.o_proj"
_QWEN2_OUT = "model.layers.*.self_attn.o_proj"

_CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 2, "intermediate_size": 3,
    "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 2, "patch_size": 2,
    "projection_dim": 2,
}  # fmt: skip
_SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 2, "intermediate_size": 3,
    "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 2, "patch_size": 2,
    "vision_use_head": False,
}  # fmt: skip
_PIXTRAL = {
    "model_type": "pixtral", "hidden_size": 4, "intermediate_size": 3, "num_hidden_layers": 1,
    "num_attention_heads": 1, "head_dim": 4, "image_size": 4, "patch_size": 2,
}  # fmt: skip
_INTERN = {
    "model_type": "internvl_vision", "hidden_size": 2, "intermediate_size": 3,
    "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": [2, 2], "patch_size": [2, 2],
}  # fmt: skip
_IDEFICS_VISION = {
    "hidden_size": 2, "intermediate_size": 3, "num_hidden_layers": 1, "num_attention_heads": 1,
    "image_size": 2, "patch_size": 2,
}  # fmt: skip


def _qwen_vision(width: int, **more: object) -> dict[str, object]:
    return {
        "depth": 1, "num_heads": 1, "hidden_size": width, "patch_size": 2, "in_channels": 1,
        "temporal_patch_size": 1, "spatial_merge_size": 1, **more,
    }  # fmt: skip


def _text(
    kind: str | None, heads: tuple[int, int, int], width: int, inner: int, rows: int, **more: object
) -> dict[str, object]:
    """A text of two layers: heads, kv heads and the width of one; 0 is the width shared."""
    known = {
        "model_type": kind, "num_attention_heads": heads[0], "num_key_value_heads": heads[1],
        "head_dim": heads[2],
    }  # fmt: skip
    return {key: value for key, value in known.items() if value} | {
        "num_hidden_layers": 2, "hidden_size": width, "intermediate_size": inner,
        "vocab_size": rows, "max_position_embeddings": 29, "rms_norm_eps": 2e-3,
        "initializer_range": 0.3, **more,
    }  # fmt: skip


def _theta(base: float, **more: object) -> dict[str, object]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": base, **more}}


_IDS = {"image_token_id": 38, "video_token_id": 37, "vision_start_token_id": 36,
        "vision_end_token_id": 35}  # fmt: skip

MODELS = {
    "llava-a": Golden(
        model="LlavaForConditionalGeneration", seed=301, tokens=7,
        places=_MODEL, out=_LLAVA_OUT, keys=True,
        config={
            "vision_config": _CLIP, "image_token_index": 40, "vision_feature_layer": -1,
            "text_config": _text("llama", (4, 2, 6), 20, 13, 41, **_theta(59.0)),
        },
    ),
    "llava-b": Golden(
        model="LlavaForConditionalGeneration", seed=302, tokens=8,
        places=_MODEL, out=_LLAVA_OUT,
        config={
            "vision_config": _PIXTRAL, "image_token_index": 42,
            "text_config": _text(
                "mistral", (6, 3, 4), 22, 15, 43, sliding_window=5, tie_word_embeddings=True,
                **_theta(83.0),
            ),
        },
    ),
    "llava-next-a": Golden(
        model="LlavaNextForConditionalGeneration", seed=303, tokens=8,
        places=_MODEL, out=_LLAVA_OUT, keys=True,
        config={
            "vision_config": _CLIP, "image_token_index": 38, "image_grid_pinpoints": [[2, 2]],
            "text_config": _text(
                "mistral", (3, 1, 8), 26, 17, 39, sliding_window=None, **_theta(61.0)
            ),
        },
    ),
    "llava-next-b": Golden(
        model="LlavaNextForConditionalGeneration", seed=304, tokens=6,
        places=_MODEL, out=_LLAVA_OUT,
        config={
            "vision_config": _CLIP, "image_token_index": 44, "image_grid_pinpoints": [[2, 2]],
            "tie_word_embeddings": True,
            "text_config": _text("llama", (5, 1, 0), 30, 19, 45, **_theta(71.0)),
        },
    ),
    "llava-onevision-a": Golden(
        model="LlavaOnevisionForConditionalGeneration", seed=305, tokens=7,
        places=_MODEL, out=_LLAVA_OUT, keys=True,
        config={
            "vision_config": _SIGLIP, "image_token_index": 36, "video_token_index": 35,
            "image_grid_pinpoints": [[2, 2]],
            "text_config": _text("qwen2", (4, 2, 0), 24, 14, 37, **_theta(67.0)),
        },
    ),
    "llava-onevision-b": Golden(
        model="LlavaOnevisionForConditionalGeneration", seed=356, tokens=7,
        places=_MODEL, out=_LLAVA_OUT,
        config={
            "vision_config": _SIGLIP, "image_token_index": 40, "video_token_index": 39,
            "image_grid_pinpoints": [[2, 2]], "tie_word_embeddings": True,
            "text_config": _text(
                None, (5, 1, 0), 30, 16, 41, use_sliding_window=True, sliding_window=4,
                max_window_layers=1, **_theta(73.0),
            ),
        },
    ),
    "mistral3-a": Golden(
        model="Mistral3ForConditionalGeneration", seed=307, tokens=8,
        places=_MODEL, out=_LLAVA_OUT, keys=True,
        config={
            "vision_config": _PIXTRAL, "image_token_index": 42, "tie_word_embeddings": False,
            "text_config": _text("mistral", (6, 2, 4), 22, 15, 43, **_theta(89.0)),
        },
    ),
    "mistral3-b": Golden(
        model="Mistral3ForConditionalGeneration", seed=308, tokens=7,
        places=_MODEL, out=_LLAVA_OUT,
        config={
            "vision_config": _PIXTRAL, "image_token_index": 38,
            "text_config": _text("qwen3", (4, 1, 6), 20, 13, 39, **_theta(97.0)),
        },
    ),
    "internvl-a": Golden(
        model="InternVLForConditionalGeneration", seed=309, tokens=7,
        places=_MODEL, out=_LLAVA_OUT, keys=True,
        config={
            "vision_config": _INTERN, "image_token_id": 36, "tie_word_embeddings": False,
            "text_config": _text("qwen2", (3, 1, 0), 18, 13, 37, **_theta(101.0)),
        },
    ),
    "internvl-b": Golden(
        model="InternVLForConditionalGeneration", seed=310, tokens=6,
        places=_MODEL, out=_LLAVA_OUT,
        config={
            "vision_config": _INTERN, "image_token_id": 40,
            "text_config": _text("qwen3", (4, 2, 6), 20, 15, 41, **_theta(103.0)),
        },
    ),
    "idefics3-a": Golden(
        model="Idefics3ForConditionalGeneration", seed=311, tokens=7,
        places=_IDEFICS, keys=True,
        config={
            "vision_config": _IDEFICS_VISION, "image_token_id": 42, "scale_factor": 1,
            "text_config": _text("llama", (4, 2, 6), 20, 13, 43, **_theta(59.0)),
        },
    ),
    "idefics3-b": Golden(
        model="Idefics3ForConditionalGeneration", seed=362, tokens=8,
        places=_IDEFICS,
        config={
            "vision_config": _IDEFICS_VISION, "image_token_id": 38, "scale_factor": 1,
            "tie_word_embeddings": True,
            "text_config": _text("mistral", (6, 3, 4), 22, 15, 39, **_theta(107.0)),
        },
    ),
    "smolvlm-a": Golden(
        model="SmolVLMForConditionalGeneration", seed=363, tokens=9,
        places=_IDEFICS, keys=True,
        config={
            "vision_config": _IDEFICS_VISION, "image_token_id": 46, "scale_factor": 1,
            "text_config": _text("llama", (3, 1, 8), 27, 17, 47, **_theta(109.0)),
        },
    ),
    "smolvlm-b": Golden(
        model="SmolVLMForConditionalGeneration", seed=314, tokens=6,
        places=_IDEFICS,
        config={
            "vision_config": _IDEFICS_VISION, "image_token_id": 40, "scale_factor": 1,
            "tie_word_embeddings": True,
            "text_config": _text(None, (5, 1, 4), 20, 13, 41, **_theta(113.0)),
        },
    ),
    "qwen2-vl-a": Golden(
        model="Qwen2VLForConditionalGeneration", seed=415, tokens=7,
        places=_MODEL, out=_QWEN2_OUT, keys=True,
        config=_IDS | {
            "vision_config": _qwen_vision(20, embed_dim=4, mlp_ratio=1),
            "text_config": _text(
                None, (2, 1, 0), 20, 13, 39, **_theta(59.0, mrope_section=[1, 2, 2])
            ),
        },
        trials={"video_token_id": 33},
    ),
    "qwen2-vl-b": Golden(
        model="Qwen2VLForConditionalGeneration", seed=366, tokens=8,
        places=_MODEL, out=_QWEN2_OUT,
        config=_IDS | {
            "vision_config": _qwen_vision(24, embed_dim=4, mlp_ratio=1),
            "tie_word_embeddings": True,
            "text_config": _text(
                None, (4, 2, 0), 24, 15, 41, use_sliding_window=True, sliding_window=5,
                max_window_layers=1,
                rope_parameters={
                    "rope_type": "yarn", "rope_theta": 61.0, "factor": 2.5,
                    "original_max_position_embeddings": 11, "mrope_section": [1, 1, 1],
                },
            ),
        },
    ),
    "qwen2-5-vl-a": Golden(
        model="Qwen2_5_VLForConditionalGeneration", seed=317, tokens=8,
        places=_MODEL, out=_QWEN2_OUT, keys=True,
        config=_IDS | {
            "vision_config": _qwen_vision(
                4, intermediate_size=3, out_hidden_size=18, fullatt_block_indexes=[0],
                window_size=2,
            ),
            "text_config": _text(
                None, (3, 1, 0), 18, 13, 43, **_theta(67.0, mrope_section=[1, 1, 1])
            ),
        },
        trials={"video_token_id": 33},
    ),
    "qwen2-5-vl-b": Golden(
        model="Qwen2_5_VLForConditionalGeneration", seed=318, tokens=7,
        places=_MODEL, out=_QWEN2_OUT,
        config=_IDS | {
            "vision_config": _qwen_vision(
                4, intermediate_size=3, out_hidden_size=40, fullatt_block_indexes=[0],
                window_size=2,
            ),
            "text_config": _text(
                None, (4, 2, 0), 40, 15, 39, tie_word_embeddings=True,
                **_theta(71.0, mrope_section=[2, 1, 1, 1]),
            ),
        },
    ),
    "qwen3-vl-a": Golden(
        model="Qwen3VLForConditionalGeneration", seed=419, tokens=7,
        places=_MODEL, keys=True,
        config=_IDS | {
            "vision_config": _qwen_vision(
                4, intermediate_size=3, out_hidden_size=20, num_position_embeddings=4,
                deepstack_visual_indexes=[0],
            ),
            "text_config": _text(
                None, (4, 2, 6), 20, 13, 41,
                **_theta(73.0, mrope_section=[1, 1, 1], mrope_interleaved=True),
            ),
        },
        trials={"video_token_id": 33},
    ),
    "qwen3-vl-b": Golden(
        model="Qwen3VLForConditionalGeneration", seed=370, tokens=9,
        places=_MODEL,
        config=_IDS | {
            "vision_config": _qwen_vision(
                4, intermediate_size=3, out_hidden_size=22, num_position_embeddings=4,
                deepstack_visual_indexes=[0],
            ),
            "tie_word_embeddings": True,
            "text_config": _text(
                None, (3, 1, 8), 22, 17, 43, attention_bias=True,
                **_theta(79.0, mrope_section=[2, 1, 1]),
            ),
        },
    ),
}  # fmt: skip
