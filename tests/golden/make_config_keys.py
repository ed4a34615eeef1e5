"""Makes the list of every config key that the reference library knows, and what each one does.

Run by hand in an environment with torch and transformers; no test runs this, no test needs torch:

    python tests/golden/make_config_keys.py

It writes `config_keys.json` beside itself. For each model type: the fields of its config class and
of the base class, what their code takes out of config.json beyond the fields (older spellings and
`attribute_map` among them), what the modelling code asks of a config without a field for it, and,
as `rope_scaling.KEY`, the keys of the rotary section. What only a class says (plans for several
machines, `default_theta`) no config.json can say, and is left out.

Each key is then tried on golden models of the type, in the reference itself, eager and in float32:

- `default`  what the class has where config.json leaves the key out; absent where there is none
- `trial`    another value: `same` logits, `other` logits, or `fails`, where the reference refuses
             it or the stored tensors do not fit
- `null`     null in its place: `absent`, the logits are those without the key; `other`; `only`,
             the reference needs the key but takes a null; `fails`

With several golden models `other` weighs more than `same`, and that more than `fails`; `model` says
which of them it was, if not the first, and `NAME, older` the same with the keys of 4.x, which stand
under `older`. What is so for every model type stands under `every`.

Origin and licence: models and numbers are made here by these scripts; Apache-2.0.
"""

import ast
import contextlib
import dataclasses
import inspect
import io
import json
import platform
import shutil
import sys
import tempfile
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.generation import GenerationConfig
from transformers.modeling_rope_utils import RopeParameters

HERE = Path(__file__).resolve().parent
GOLDEN = {
    "gpt2": ("gpt2-a", "gpt2-b"),
    "llama": ("llama-plain", "llama-bias", "llama-linear", "llama-llama3", "llama-yarn"),
    "mistral": ("mistral-window",),
    "qwen2": ("qwen2-window",),
    "qwen3": ("qwen3-yarn",),
    "gemma2": ("gemma2",),
    "gemma3": (),  # around a text_config, whose keys are those of the next
    "gemma3_text": ("gemma3",),
    "phi3": ("phi3-short", "phi3-long"),
    "gpt_neox": ("neox-parallel", "neox-serial"),
    "bloom": ("bloom", "bloom-normed"),
    "opt": ("opt-before", "opt-behind", "opt-bare"),
    "t5": ("t5-relu", "t5-gelu"),
    "mt5": ("mt5",),
    "umt5": ("umt5",),
    "bart": ("bart",),
    "bert": ("bert",),
    "roberta": ("roberta",),  # XLM-R and CamemBERT have the same class
    "distilbert": ("distilbert",),
    "electra": ("electra",),
    "albert": ("albert",),
    "deberta-v2": (
        "deberta-shared", "deberta-c2p", "deberta-p2c", "deberta-both", "deberta-absolute",
    ),
    "modernbert": ("modernbert-windows", "modernbert-biased"),
}  # fmt: skip
# The same models with the spellings of 4.x; null drops a key.
OLDER: dict[str, dict[str, Any]] = {
    "gpt2-a": {
        "n_embd": None, "hidden_size": 21, "n_head": None, "num_attention_heads": 3,
        "n_layer": None, "num_hidden_layers": 2, "n_positions": None,
        "max_position_embeddings": 23,
    },
    "llama-plain": {"rope_parameters": None, "rope_theta": 53.0},
    "qwen2-window": {"rope_parameters": None, "rope_theta": 1000.0, "layer_types": None},
    "gemma2": {"rope_parameters": None, "rope_theta": 59.0, "layer_types": None},
    "gemma3": {
        "rope_parameters": None, "rope_theta": 97.0, "rope_local_base_freq": 11.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.5},
        "layer_types": None, "_sliding_window_pattern": None, "sliding_window_pattern": 2,
    },
    "phi3-short": {
        "rope_parameters": None, "rope_theta": 61.0, "partial_rotary_factor": 0.75,
        "rope_scaling": {
            "type": "longrope", "short_factor": [1.1, 1.3, 1.9], "long_factor": [1.7, 2.9, 4.3],
        },
    },
    "neox-parallel": {"rope_parameters": None, "rotary_pct": 0.5, "rotary_emb_base": 83},
    "bloom": {"hidden_size": None, "n_embed": 20, "n_head": None, "num_attention_heads": 5},
    "t5-gelu": {
        "scale_decoder_outputs": None, "tie_word_embeddings": False, "dense_act_fn": None,
        "is_gated_act": None,
    },
    "deberta-shared": {"pos_att_type": "P2C | c2p"},
    "modernbert-windows": {"layer_types": None, "global_attn_every_n_layers": 3},
    "modernbert-biased": {
        "rope_parameters": None, "global_rope_theta": 47.0, "local_rope_theta": 13.0,
    },
}  # fmt: skip
NO_ROPE = (
    "gpt2", "bloom", "opt", "gemma3", "t5", "mt5", "umt5", "bart", "bert", "roberta", "distilbert",
    "electra", "albert", "deberta-v2",
)  # fmt: skip
OF_ROPE = ("rope_theta", "rope_scaling", "partial_rotary_factor")
# Values where none can be derived from the default or from the golden model's own.
TRIALS: dict[str, Any] = {
    "activation_function": "silu", "hidden_act": "gelu", "hidden_activation": "gelu",
    "architectures": ["GPT2Model"], "is_causal": False, "name_or_path": "elsewhere",
    "dtype": "bfloat16", "torch_dtype": "bfloat16", "num_labels": 5, "problem_type": "regression",
    "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2},
    "per_layer_config": {"0": {"rms_norm_eps": 5.0}}, "n_inner": 7, "n_embed": 5,
    "experts_implementation": "eager",
    "transformers_version": "4.0.0", "summary_activation": "tanh", "summary_type": "mean",
    "pad_token_id": 3, "bos_token_id": 3, "eos_token_id": 3, "sep_token_id": 3,
    "head_dim": 4, "sliding_window": 3, "use_bidirectional_attention": True,
    "attn_logit_softcapping": 2.0, "final_logit_softcapping": 2.0, "word_embed_proj_dim": 5,
    "sliding_window_pattern": 2, "_sliding_window_pattern": 2, "max_window_layers": 0,
    "rope_theta": 77.0, "rope_local_base_freq": 77.0, "rotary_emb_base": 77.0, "rotary_pct": 0.5,
    "partial_rotary_factor": 0.5, "original_max_position_embeddings": 4, "attn_implementation": "",
    "rope_scaling": {"rope_type": "linear", "factor": 3.0, "rope_theta": 77.0},
    "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 77.0},
    "tie_last_hidden_states": False, "gradient_checkpointing": True, "early_stopping": True,
    "num_assistant_tokens_schedule": "heuristic", "bad_words_ids": [[1]], "suppress_tokens": [1],
    "begin_suppress_tokens": [1], "forced_bos_token_id": 3, "forced_eos_token_id": 3,
    "exponential_decay_length_penalty": [3, 1.5], "num_attention_heads": 1, "n_head": 1,
    "num_key_value_heads": 1, "num_hidden_layers": 1, "n_layer": 1, "query_pre_attn_scalar": 3,
    "rope_type": "linear", "type": "linear", "mrope_section": [1, 1, 1], "truncate": False,
    "factor": 3.0, "attention_factor": 1.75, "beta_fast": 8.0, "beta_slow": 2.0,
    "low_freq_factor": 1.25, "high_freq_factor": 7.0, "mscale": 2.0, "mscale_all_dim": 3.0,
    "encoder_attention_heads": 1, "decoder_attention_heads": 1, "dense_act_fn": "silu",
    "feed_forward_proj": "gated-silu", "num_decoder_layers": 1,
    "encoder_no_repeat_ngram_size": 2, "cross_attention_hidden_size": 4,
    "pos_att_type": "c2p", "norm_rel_ebd": "none", "conv_act": "relu", "pooler_hidden_act": "relu",
    "classifier_activation": "silu", "classifier_pooling": "mean", "global_rope_theta": 77.0,
    "local_rope_theta": 77.0, "global_attn_every_n_layers": 2, "local_attention": 2,
}  # fmt: skip
# Asked of a config without a field for it, by code that every causal model runs through.
ASKED_BY_ALL = ("gradient_checkpointing", "is_causal", "tie_last_hidden_states")
# Fields of the base class before 5.0, whose code had them all in config.json.
OLDER_BASE = {
    "add_cross_attention": False, "cross_attention_hidden_size": None, "finetuning_task": None,
    "is_decoder": False, "output_attentions": False, "prefix": None, "sep_token_id": None,
    "task_specific_params": None, "tf_legacy_loss": False, "tie_encoder_decoder": False,
    "tokenizer_class": None, "torchscript": False, "use_bfloat16": False,
    "decoder_start_token_id": None,
}  # fmt: skip


def asked(source: str, of: tuple[str, ...]) -> set[str]:
    """Keys that code gets by `kwargs.pop("KEY")` or `getattr(config, "KEY")`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name, first = node.func, node.args[0]
        if isinstance(name, ast.Attribute) and name.attr in ("pop", "get"):
            on, key = name.value, first
        elif isinstance(name, ast.Name) and name.id == "getattr" and len(node.args) > 1:
            on, key = first, node.args[1]
        else:
            continue
        last = on.attr if isinstance(on, ast.Attribute) else getattr(on, "id", "")
        if last in of and isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.add(key.value)
    return found


def assigned(source: str) -> set[str]:
    """Keys that code sets as `self.KEY`, which a file's own values then overwrite."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if getattr(node.value, "id", "") == "self"
    }


def plain(value: Any) -> bool:
    with contextlib.suppress(TypeError, ValueError):
        json.dumps(value)
        return True
    return False


def keys_of(kind: str) -> dict[str, dict[str, Any]]:
    """Every key of a model type, with its default if it has one."""
    config_class = transformers.CONFIG_MAPPING[kind]
    modelling = import_module(config_class.__module__.replace("configuration", "modeling"))
    base = transformers.PreTrainedConfig
    names = set(ASKED_BY_ALL) | set(config_class.attribute_map) | set(TRIALS) & {"rope_scaling"}
    for code in (config_class, base.__post_init__, base.convert_rope_params_to_dict):
        names |= asked(textwrap.dedent(inspect.getsource(code)), ("kwargs",))
    names |= assigned(textwrap.dedent(inspect.getsource(config_class)))
    if GOLDEN[kind]:  # else it asks the config inside
        names |= asked(inspect.getsource(modelling), ("config",))
    keys: dict[str, dict[str, Any]] = {name: {} for name in names}
    defaults = {**GenerationConfig._get_default_generation_params(), **OLDER_BASE}
    for field in dataclasses.fields(config_class):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
        else:
            keys.setdefault(field.name, {})
    for name, value in defaults.items():
        keys.setdefault(name, {})
        if plain(value):
            keys[name] = {"default": value}
    if kind in NO_ROPE:
        keys = {name: entry for name, entry in keys.items() if name not in OF_ROPE}
    else:
        section = {*RopeParameters.__annotations__, "type", "finetuned"}
        keys |= {f"rope_scaling.{name}": {} for name in section}
    # What the file is, and what attn reads in a way of its own.
    for name in ("model_type", "ignore_keys", "default_theta", "text_config", "vision_config"):
        keys.pop(name, None)
    return keys


class Golden:
    """One golden model, whose config can be changed and whose logits compared."""

    def __init__(self, folder: str, place: Path, changes: dict[str, Any] | None = None) -> None:
        self.name = f"{folder}, older" if changes else folder
        self.place = place / self.name
        shutil.copytree(HERE / folder, self.place)
        config = json.loads((self.place / "config.json").read_text()) | (changes or {})
        dropped = {key for key, value in (changes or {}).items() if value is None}
        self.config = {key: value for key, value in config.items() if key not in dropped}
        archive = np.load(self.place / "activations.npz")
        self.kind = getattr(transformers, config["architectures"][0])
        self.given = {"input_ids": torch.tensor([archive["ids"].tolist()])}
        if "types" in archive:
            self.given["token_type_ids"] = torch.tensor([archive["types"].tolist()])
        if "source" in archive:
            self.given = {
                "input_ids": torch.tensor([archive["source"].tolist()]),
                "decoder_input_ids": self.given["input_ids"],
                "use_cache": False,
            }
        self.logits = torch.tensor(archive["logits"])
        assert self.same(self.run(self.config), self.logits), self.name

    @torch.no_grad()
    def run(self, config: dict[str, Any]) -> torch.Tensor | None:
        """The logits, or None where the reference fails."""
        (self.place / "config.json").write_text(json.dumps(config))
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                model, info = self.kind.from_pretrained(
                    self.place, attn_implementation="eager", dtype=torch.float32,
                    output_loading_info=True,
                )  # fmt: skip
                if info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]:
                    return None
                return model.eval()(**self.given, return_dict=True).logits[0].float()
        except Exception:  # whatever it is, the reference does not run this config
            return None

    @staticmethod
    def same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
        if one is None or other is None:
            return False
        return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=2e-5)

    def changed(self, key: str, value: Any, *, drop: bool = False) -> torch.Tensor | None:
        """The logits with a key of the config, or of its rotary section, changed or dropped."""
        config = json.loads(json.dumps(self.config))
        section, _, name = key.rpartition(".")
        if section:
            holder = config.get("rope_scaling") or config.get("rope_parameters")
            if not holder:
                holder = config["rope_parameters"] = {"rope_type": "default"}
            holder = holder.get("full_attention", holder)
        else:
            holder = config
        holder.pop(name, None)
        if not drop:
            holder[name] = value
        return self.run(config)

    def value(self, key: str) -> Any:
        """What the config or its rotary section says, or None."""
        section, _, name = key.rpartition(".")
        holder = self.config
        if section:
            holder = self.config.get("rope_scaling") or self.config.get("rope_parameters") or {}
            holder = holder.get("full_attention", holder)
        return holder.get(name)


def trial(key: str, entry: dict[str, Any], model: Golden) -> Any:
    """A value that neither the golden model nor the class has."""
    name = key.rpartition(".")[2]
    own = model.value(key)
    own = entry.get("default") if own is None else own
    if name == "layer_types":
        kinds = ("sliding_attention", "full_attention")
        layers = model.config.get("num_hidden_layers", model.config.get("n_layer"))
        return [kinds[kind == kinds[0]] for kind in own or [kinds[1]] * layers]
    if name.endswith("_factor") and isinstance(own, list):
        return [3.5 * number for number in own]
    if name in ("rope_parameters", "rope_scaling") and "full_attention" in (own or {}):
        return {**own, "full_attention": TRIALS[name]}
    if name in TRIALS and TRIALS[name] != own:
        return TRIALS[name]
    if isinstance(own, bool):
        return not own
    if isinstance(own, int):
        return own + 1
    if isinstance(own, float):
        return 1.5 * own if own else 0.5
    return "other" if isinstance(own, str) else 3


RANK = {"other": 2, "same": 1, "fails": 0}


def measure(keys: dict[str, dict[str, Any]], models: list[Golden]) -> None:
    """Adds what each key does, from every golden model of the type."""
    for key, entry in keys.items():
        for model in models:
            value = trial(key, entry, model)
            found = model.changed(key, value)
            same = "same" if model.same(found, model.logits) else "other"
            effect = "fails" if found is None else same
            if RANK[effect] > RANK.get(entry.get("effect", ""), -1):
                entry |= {"trial": value, "effect": effect, "null": of_null(model, key)}
                entry["model"] = model.name
        if models and entry["model"] == models[0].name:
            del entry["model"]


def of_null(model: Golden, key: str) -> str:
    none, without = model.changed(key, None), model.changed(key, None, drop=True)
    if none is None:
        return "fails"
    if without is None:
        return "only"
    return "absent" if model.same(none, without) else "other"


def lines(families: dict[str, dict[str, dict[str, Any]]], versions: dict[str, str]) -> str:
    """JSON with one line for each key."""
    measured = [keys for kind, keys in families.items() if GOLDEN[kind]]
    shared = {
        key: entry
        for key, entry in measured[0].items()
        if all(keys.get(key) == entry for keys in measured)
    }
    text = ['{"versions": ' + json.dumps(versions) + ",", '"older": {']
    text += [f" {json.dumps(name)}: {json.dumps(OLDER[name])}," for name in OLDER]
    text[-1] = text[-1].removesuffix(",") + "},"
    text.append('"families": {')
    for kind, keys in {"every": shared, **families}.items():
        own = sorted(keys if kind == "every" else keys.keys() - shared.keys())
        text.append(f'"{kind}": {{')
        text += [f" {json.dumps(key)}: {json.dumps(keys[key])}," for key in own]
        text[-1] = text[-1].removesuffix(",")
        text.append("},")
    text[-1] = "}"
    return "\n".join([*text, "}}"]) + "\n"


def main() -> None:
    families = {}
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    for kind, names in GOLDEN.items():
        with tempfile.TemporaryDirectory() as place:
            families[kind] = keys_of(kind)
            models = [Golden(name, Path(place)) for name in names]
            models += [Golden(n, Path(place), OLDER[n]) for n in names if n in OLDER]
            measure(families[kind], models)
        print(kind, len(families[kind]), file=sys.stderr)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    (HERE / "config_keys.json").write_text(lines(families, versions))


if __name__ == "__main__":
    main()
