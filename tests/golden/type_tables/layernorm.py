"""Types with a layer norm before attention, and a network after it or beside it."""

import importlib

import torch

from type_tables import Golden, Places


def _heads(x, count):
    """(1, position, head × width) to (head, position, width)."""
    return x[0].unflatten(-1, (count, -1)).transpose(0, 1)


# --- what the reference's functions do not take or give as it is ---------------------------------


def partly_turned(model, layer, heard):
    """q and k before rotation, of which the reference turns a part by itself."""
    found = {}
    for letter, turned, whole in zip(
        "qk", heard.turned[layer], heard.attended[layer][:2], strict=True
    ):
        rest = whole[..., turned.shape[-1] :]
        found[f"{letter}_unrotated"] = torch.cat((turned, rest), -1)[0]
    return found


def turned_one_by_one(model, layer, heard):
    """The same where it is asked of keys, then of queries, (position, head, width)."""
    found = {}
    for letter, at, which in (("k", 0, 1), ("q", 1, 0)):
        turned = heard.turned[2 * layer + at][0][0].transpose(0, 1)
        rest = heard.attended[layer][which][0][..., turned.shape[-1] :]
        found[f"{letter}_unrotated"] = torch.cat((turned, rest), -1)
    return found


def of_falcon(model, layer, heard):
    block, found = model.transformer.h[layer], heard.layers[layer]
    config, attention, arrays = model.config, block.self_attention, {}
    module = importlib.import_module(type(model).__module__)
    q, k, v = attention._split_heads(attention.query_key_value(found["normed"]))
    tokens = q.shape[1]
    once = slice(None, None, k.shape[2] // attention.num_kv_heads)  # they stand there repeated
    q, k, v = (one.transpose(1, 2) for one in (q, k[:, :, once], v[:, :, once]))
    if config.alibi:
        mask = torch.ones(1, tokens, dtype=torch.long)
        alibi = module.build_alibi_tensor(mask, config.num_attention_heads, torch.float32)
        arrays["bias"] = (alibi / attention.head_dim**0.5).expand(-1, tokens, -1)
    else:
        arrays |= {"q_unrotated": q[0], "k_unrotated": k[0]}
        turn = model.transformer.rotary_emb(found["x"], torch.arange(tokens)[None])
        q, k = module.apply_rotary_pos_emb(q, k, *turn)
    if hasattr(block, "ln_mlp"):
        into = block.ln_mlp(found["x"])
    elif config.parallel_attn:
        into = found["normed"]
    else:
        into = block.post_attention_layernorm(found["x"] + found["output"])
    return arrays | {"q": q[0], "k": k[0], "v": v[0], "mlp_output": block.mlp(into)[0]}


def of_mpt(model, layer, heard):
    attention, normed = model.transformer.blocks[layer].attn, heard.layers[layer]["normed"]
    q, k, v = attention.Wqkv(normed).chunk(3, -1)
    bound, tokens, heads = attention.clip_qkv, normed.shape[1], attention.n_heads
    if bound:
        q, k, v = (one.clamp(-bound, bound) for one in (q, k, v))
    bias = model.transformer.build_mpt_alibi_tensor(heads, model.config.max_seq_len)
    found = dict(zip("qkv", (_heads(one, heads) for one in (q, k, v)), strict=True))
    return found | {"bias": bias[..., -tokens:].expand(-1, tokens, -1)}


def of_gpt_neo(model, layer, heard):
    attention = model.transformer.h[layer].attn.attention
    normed, heads = heard.layers[layer]["normed"], attention.num_heads
    return {n: _heads(getattr(attention, f"{n}_proj")(normed), heads) for n in "qkv"}


def of_xglm(model, layer, heard):
    """Its softmax is of three dimensions, and its queries are scaled before the dot products."""
    attention, found = model.model.layers[layer].self_attn, heard.layers[layer]
    normed, heads = found["normed"], attention.num_heads
    hidden = torch.full((normed.shape[1],) * 2, -torch.inf).triu(1)
    lowest = hidden.clamp(min=torch.finfo(torch.float32).min)
    _, weights = attention(normed, attention_mask=lowest[None, None])
    arrays = {n: _heads(getattr(attention, f"{n}_proj")(normed), heads) for n in "qkv"}
    scores = (arrays["q"] * attention.scaling) @ arrays["k"].transpose(1, 2)
    z = _heads(found["merged"], heads)
    return arrays | {"masked": scores + hidden, "weights": weights[0], "z": z}


# --- where they keep their parts -----------------------------------------------------------------

PHI = Places(out="self_attn.dense", arrays=partly_turned)
STABLELM = Places(arrays=partly_turned)
GPTJ = Places(
    layers="transformer.h", norm="ln_1", attention="attn", out="attn.out_proj",
    arrays=turned_one_by_one,
)  # fmt: skip
BIGCODE = Places(layers="transformer.h", norm="ln_1", attention="attn", out="attn.c_proj")
NEO = Places(
    layers="transformer.h", norm="ln_1", attention="attn", out="attn.attention.out_proj",
    arrays=of_gpt_neo,
)  # fmt: skip
MPT = Places(
    layers="transformer.blocks", norm="norm_1", attention="attn", out="attn.out_proj",
    mlp="ffn.down_proj", arrays=of_mpt,
)  # fmt: skip
BIOGPT = Places(
    layers="biogpt.layers", norm="self_attn_layer_norm", out="self_attn.out_proj", mlp="fc2"
)
XGLM = Places(norm="self_attn_layer_norm", out="self_attn.out_proj", mlp="fc2", arrays=of_xglm)


def falcon(norm="input_layernorm"):
    return Places(
        layers="transformer.h", norm=norm, attention="self_attention", out="self_attention.dense",
        mlp="", arrays=of_falcon,
    )  # fmt: skip


# --- models --------------------------------------------------------------------------------------

WIDE = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24, "vocab_size": 41}
NARROW = {"num_hidden_layers": 2, "num_attention_heads": 6, "hidden_size": 24, "vocab_size": 43}
OWN = {"n_layer": 2, "n_head": 3, "n_embd": 24, "vocab_size": 41}


def rope(theta, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


MODELS = {
    "phi-a": Golden(
        model="PhiForCausalLM", seed=301, tokens=7, places=PHI, keys=True,
        config=WIDE | rope(53.0, partial_rotary_factor=0.5) | {
            "num_key_value_heads": 1, "intermediate_size": 17, "max_position_embeddings": 31,
            "layer_norm_eps": 3e-3, "hidden_act": "gelu_new",
        },
        trials={"num_key_value_heads": 3},
    ),
    "phi-b": Golden(
        model="PhiForCausalLM", seed=302, tokens=8, places=PHI,
        config=NARROW | rope(71.0, partial_rotary_factor=0.5) | {
            "num_key_value_heads": 3, "intermediate_size": 19, "max_position_embeddings": 29,
            "layer_norm_eps": 2e-3, "hidden_act": "relu", "qk_layernorm": True,
            "tie_word_embeddings": True,
        },
    ),
    "starcoder2-a": Golden(
        model="Starcoder2ForCausalLM", seed=303, tokens=7, keys=True,
        config=WIDE | rope(53.0) | {
            "num_key_value_heads": 1, "intermediate_size": 17, "max_position_embeddings": 31,
            "norm_epsilon": 3e-3, "sliding_window": 5,
        },
        trials={"num_key_value_heads": 3, "use_bias": False},
    ),
    "starcoder2-b": Golden(
        model="Starcoder2ForCausalLM", seed=304, tokens=8,
        config=NARROW | {
            "num_key_value_heads": 3, "intermediate_size": 19, "max_position_embeddings": 29,
            "norm_epsilon": 2e-3, "use_bias": False, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 61.0},
        },
    ),
    "stablelm-a": Golden(
        model="StableLmForCausalLM", seed=305, tokens=7, places=STABLELM, keys=True,
        config=WIDE | rope(53.0, partial_rotary_factor=0.25) | {
            "num_key_value_heads": 1, "intermediate_size": 17, "max_position_embeddings": 31,
            "layer_norm_eps": 3e-3, "use_qkv_bias": True,
        },
        trials={"num_key_value_heads": 3},
    ),
    "stablelm-b": Golden(
        model="StableLmForCausalLM", seed=306, tokens=8, places=STABLELM,
        config=NARROW | rope(71.0, partial_rotary_factor=0.5) | {
            "num_key_value_heads": 3, "intermediate_size": 19, "max_position_embeddings": 29,
            "layer_norm_eps": 2e-3, "hidden_act": "gelu", "qk_layernorm": True,
            "use_parallel_residual": True,
        },
    ),
    "gptj-a": Golden(
        model="GPTJForCausalLM", seed=307, tokens=7, places=GPTJ, keys=True,
        config=OWN | {
            "n_positions": 31, "n_inner": 17, "rotary_dim": 6, "layer_norm_epsilon": 3e-3,
        },
        trials={"rotary_dim": 4},
    ),
    "gptj-b": Golden(
        model="GPTJForCausalLM", seed=308, tokens=8, places=GPTJ,
        config={
            "n_layer": 2, "n_head": 6, "n_embd": 24, "vocab_size": 43, "n_positions": 29,
            "rotary_dim": 4, "activation_function": "relu", "tie_word_embeddings": True,
        },
    ),
    "codegen-a": Golden(
        model="CodeGenForCausalLM", seed=309, tokens=7, places=GPTJ, keys=True,
        config={
            "n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 41, "n_positions": 31,
            "n_ctx": 31, "n_inner": 17, "rotary_dim": 6, "layer_norm_epsilon": 3e-3,
        },
        trials={"rotary_dim": 4},
    ),
    "codegen-b": Golden(
        model="CodeGenForCausalLM", seed=310, tokens=6, places=GPTJ,
        config={
            "n_layer": 2, "n_head": 8, "n_embd": 32, "vocab_size": 43, "n_positions": 29,
            "n_ctx": 29, "rotary_dim": 4, "activation_function": "gelu",
        },
    ),
    # The old architecture: one key and value for all heads, one norm for both parts.
    "falcon-a": Golden(
        model="FalconForCausalLM", seed=311, tokens=7, places=falcon(), keys=True,
        config=WIDE | rope(53.0) | {
            "ffn_hidden_size": 17, "max_position_embeddings": 31, "layer_norm_epsilon": 3e-3,
        },
        trials={"num_kv_heads": 1, "multi_query": False},
    ),
    # The new one: groups of heads, two norms.
    "falcon-b": Golden(
        model="FalconForCausalLM", seed=312, tokens=8, places=falcon("ln_attn"),
        config=NARROW | rope(71.0) | {
            "num_kv_heads": 3, "max_position_embeddings": 29, "new_decoder_architecture": True,
            "bias": True, "activation": "relu", "ffn_hidden_size": 19,
            "tie_word_embeddings": False,
        },
    ),
    # One norm in the new one.
    "falcon-c": Golden(
        model="FalconForCausalLM", seed=313, tokens=8, places=falcon(),
        config=NARROW | rope(71.0) | {
            "num_kv_heads": 3, "max_position_embeddings": 29, "new_decoder_architecture": True,
            "num_ln_in_parallel_attn": 1, "ffn_hidden_size": 19,
        },
    ),
    # Its first models: ALiBi, one part after the other, keys and values of each head.
    "falcon-d": Golden(
        model="FalconForCausalLM", seed=314, tokens=9, places=falcon(), attention="sdpa",
        config=WIDE | {
            "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True,
            "ffn_hidden_size": 17, "max_position_embeddings": 31,
        },
    ),
    "mpt-a": Golden(
        model="MptForCausalLM", seed=315, tokens=7, places=MPT, keys=True,
        config={
            "n_layers": 2, "n_heads": 3, "d_model": 24, "vocab_size": 41, "max_seq_len": 31,
            "layer_norm_epsilon": 3e-3,
            "attn_config": {"clip_qkv": 0.7, "softmax_scale": 0.61},
        },
        trials={"attn_config": {"clip_qkv": 0.5}},
    ),
    "mpt-b": Golden(
        model="MptForCausalLM", seed=316, tokens=9, places=MPT,
        config={
            "n_layers": 2, "n_heads": 4, "d_model": 20, "vocab_size": 43, "max_seq_len": 29,
            "tie_word_embeddings": False,
        },
    ),
    "nemotron-a": Golden(
        model="NemotronForCausalLM", seed=317, tokens=7, keys=True,
        config=WIDE | rope(53.0, partial_rotary_factor=0.5) | {
            "num_key_value_heads": 1, "intermediate_size": 17, "max_position_embeddings": 31,
            "norm_eps": 3e-3, "head_dim": 12,
        },
        trials={"num_key_value_heads": 3, "head_dim": 8},
    ),
    "nemotron-b": Golden(
        model="NemotronForCausalLM", seed=318, tokens=8,
        config=NARROW | rope(71.0, partial_rotary_factor=0.5) | {
            "num_key_value_heads": 3, "intermediate_size": 19, "max_position_embeddings": 29,
            "norm_eps": 2e-3, "attention_bias": True, "mlp_bias": True, "hidden_act": "gelu",
            "tie_word_embeddings": True,
        },
    ),
    "persimmon-a": Golden(
        model="PersimmonForCausalLM", seed=319, tokens=7, places=PHI, keys=True,
        config=WIDE | rope(53.0, partial_rotary_factor=0.5) | {
            "intermediate_size": 17, "max_position_embeddings": 31, "layer_norm_eps": 3e-3,
        },
    ),
    "persimmon-b": Golden(
        model="PersimmonForCausalLM", seed=320, tokens=8, places=PHI,
        config=NARROW | rope(71.0, partial_rotary_factor=0.5) | {
            "intermediate_size": 19, "max_position_embeddings": 29, "qk_layernorm": False,
            "hidden_act": "gelu",
        },
    ),
    "gpt_bigcode-a": Golden(
        model="GPTBigCodeForCausalLM", seed=321, tokens=7, places=BIGCODE, keys=True,
        config=OWN | {"n_positions": 31, "n_inner": 17, "layer_norm_epsilon": 3e-3},
    ),
    "gpt_bigcode-b": Golden(
        model="GPTBigCodeForCausalLM", seed=322, tokens=8, places=BIGCODE,
        config={
            "n_layer": 2, "n_head": 6, "n_embd": 24, "vocab_size": 43, "n_positions": 29,
            "multi_query": False, "scale_attn_weights": False, "activation_function": "relu",
            "tie_word_embeddings": False,
        },
    ),
    # The second layer sees four keys.
    "gpt_neo-a": Golden(
        model="GPTNeoForCausalLM", seed=323, tokens=7, places=NEO, keys=True,
        config={
            "num_layers": 2, "num_heads": 3, "hidden_size": 24, "vocab_size": 41,
            "max_position_embeddings": 31, "attention_types": [[["global", "local"], 1]],
            "window_size": 4, "layer_norm_epsilon": 3e-3, "intermediate_size": 17,
        },
        trials={
            "attention_types": [[["local"], 2]], "attention_layers": ["local", "local"],
        },
    ),
    "gpt_neo-b": Golden(
        model="GPTNeoForCausalLM", seed=324, tokens=8, places=NEO,
        config={
            "num_layers": 2, "num_heads": 6, "hidden_size": 24, "vocab_size": 43,
            "max_position_embeddings": 29, "attention_types": [[["local"], 1], [["global"], 1]],
            "window_size": 5, "activation_function": "gelu", "tie_word_embeddings": False,
        },
    ),
    "biogpt-a": Golden(
        model="BioGptForCausalLM", seed=325, tokens=7, places=BIOGPT, keys=True,
        config=WIDE | {
            "intermediate_size": 17, "max_position_embeddings": 31, "layer_norm_eps": 3e-3,
        },
    ),
    "biogpt-b": Golden(
        model="BioGptForCausalLM", seed=326, tokens=8, places=BIOGPT,
        config=NARROW | {
            "intermediate_size": 19, "max_position_embeddings": 29, "scale_embedding": False,
            "hidden_act": "relu", "tie_word_embeddings": False,
        },
    ),
    "xglm-a": Golden(
        model="XGLMForCausalLM", seed=327, tokens=7, places=XGLM, keys=True,
        config={
            "num_layers": 2, "attention_heads": 3, "d_model": 24, "vocab_size": 41,
            "max_position_embeddings": 31, "ffn_dim": 17,
        },
        trials={"pad_token_id": 5},
    ),
    # The third position is that of the padding token, and has no waves.
    "xglm-b": Golden(
        model="XGLMForCausalLM", seed=328, tokens=8, places=XGLM,
        config={
            "num_layers": 2, "attention_heads": 6, "d_model": 24, "vocab_size": 43,
            "max_position_embeddings": 29, "ffn_dim": 19, "scale_embedding": False,
            "activation_function": "relu", "pad_token_id": 4, "tie_word_embeddings": False,
        },
    ),
}  # fmt: skip
