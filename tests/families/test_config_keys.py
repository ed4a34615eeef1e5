"""Every key of a config is used, harmless or refused by name, as the reference library reads it.

`config_keys.json` says of each key what it does there (see `make_config_keys.py`); a key outside
it cannot change what the reference computes, and one note names all such keys.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from attn_cli import session
from attn_cli.errors import ContentError
from attn_cli.families import COMPOSITES, FAMILIES
from attn_cli.opening.configs import read_config
from measure import logits_of

GOLDEN = Path(__file__).parents[1] / "golden"
MEASURED = json.loads((GOLDEN / "config_keys.json").read_text())
PUBLISHED = json.loads((GOLDEN / "published_configs.json").read_text())
for path in sorted((GOLDEN / "published_types").glob("*.json")):
    PUBLISHED |= json.loads(path.read_text())
EVERY = MEASURED["families"]["every"]
FIRST = {
    "gpt2": "gpt2-a", "llama": "llama-plain", "mistral": "mistral-window", "qwen2": "qwen2-window",
    "qwen3": "qwen3-yarn", "gemma2": "gemma2", "gemma3_text": "gemma3", "phi3": "phi3-short",
    "gpt_neox": "neox-parallel", "bloom": "bloom", "opt": "opt-before", "t5": "t5-relu",
    "mt5": "mt5", "umt5": "umt5", "bart": "bart", "bert": "bert", "roberta": "roberta",
    "distilbert": "distilbert", "electra": "electra", "albert": "albert",
    "deberta-v2": "deberta-shared", "modernbert": "modernbert-windows",
}  # fmt: skip
# The reference unties where a file's output matrix is not the embedding; attn does as the config
# says, and a note says that there is another.
ON_PURPOSE = {"tie_word_embeddings"}
# For each family, keys that it refuses: a value that is refused, and those that are accepted.
EVERYWHERE = {
    "is_causal": (False, [True]),
    "per_layer_config": ({"0": {"rms_norm_eps": 5.0}}, [{}, None]),
}
NOT_CAUSAL = (
    "bert", "roberta", "distilbert", "electra", "albert", "deberta-v2", "modernbert",
)  # fmt: skip
DECODER = {"is_decoder": (True, [False, None]), "add_cross_attention": (True, [False, None])}
# Of models whose frequencies are scaled.
SHARE = {"partial_rotary_factor": (0.5, [1.0, 1, None])}
REFUSED = {
    "gpt2": {"add_cross_attention": (True, [False, None])},
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": SHARE,
    "gemma2": {"use_bidirectional_attention": (True, [False, None])},
    "gemma3_text": {
        "use_bidirectional_attention": (True, [False, None]),
        "attn_logit_softcapping": (30.0, [None]),
    },
    "phi3": {},
    "gpt_neox": {"head_dim": (4, [8, None])},
    "bloom": {},
    "opt": {},
    "bert": DECODER | {"position_embedding_type": ("relative_key", ["absolute", None])},
    "roberta": DECODER,
    "distilbert": {},
    "electra": DECODER,
    "albert": {"inner_group_num": (2, [1])},
    "t5": {},
    "mt5": {},
    "umt5": {},
    "bart": {"tie_word_embeddings": (False, [True])},
    "deberta-v2": {"attention_head_size": (4, [8, None])},
    "modernbert": SHARE | {"head_dim": (4, [6, None])},
}  # fmt: skip


def refused_in(family):
    """The keys that a family refuses, each with a value that it does and those that it takes."""
    everywhere = {
        k: v for k, v in EVERYWHERE.items() if k != "is_causal" or family not in NOT_CAUSAL
    }
    return everywhere | REFUSED[family]


# What the reference's code has for a key that is no field of its class, where it is missing.
IN_CODE = {
    "llama-plain": {"rope_theta": 10_000.0},
    "qwen2-window": {"rope_theta": 10_000.0},
    "gemma2": {"rope_theta": 10_000.0},
    "gemma3": {
        "sliding_window_pattern": 6, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
    },
    "phi3-short": {"rope_theta": 10_000.0},
    "neox-parallel": {"rotary_pct": 0.25, "rotary_emb_base": 10_000},
    "modernbert-biased": {"global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0},
}  # fmt: skip


# --- what opening a changed model gives: the one place that knows attn's own functions -----------


def opened(folder, config, ignored=()):
    """The logits and notes of a model with this config."""
    (folder / "config.json").write_text(json.dumps(config))
    model = session.load(str(folder), ignore_config=ignored)
    golden = np.load(folder / "activations.npz")
    ids, target = golden["ids"].tolist(), []
    if "source" in golden:
        ids, target = golden["source"].tolist(), ids
    found = session.trace(ids=ids, target_ids=target, model=model)
    types = tuple(golden["types"].tolist()) if "types" in golden else ()
    logits = logits_of(model, tuple(ids), types=types) if model.facts.masked else found.logits
    return logits, {str(note) for note in found.notes}


def read(folder, config):
    """What a family makes of a folder's config."""
    (folder / "config.json").write_text(json.dumps(config))
    return session.load(str(folder)).config


def read_published(config):
    """What a family makes of a config, without tensors."""
    return read_config(config, "config.json").config


# -------------------------------------------------------------------------------------------------


class Golden:
    """A copy of a golden model whose config is changed again and again."""

    def __init__(self, name, place):
        name, _, older = name.partition(", ")
        self.folder = place / f"{name}{older}"
        shutil.copytree(GOLDEN / name, self.folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        for key, value in MEASURED["older"][name].items() if older else ():
            self.config[key] = value
            if value is None:
                del self.config[key]
        self.logits, self.notes = opened(self.folder, self.config)
        self.results = {}

    def changed(self, values, drop=(), ignored=()):
        """The error's text, the logits and the new notes with these keys changed."""
        config = self.with_changes(values, drop)
        asked = json.dumps([config, *ignored])
        if asked not in self.results:
            self.results[asked] = self.result(config, ignored)
        return self.results[asked]

    def result(self, config, ignored):
        try:
            logits, notes = opened(self.folder, config, ignored)
        except ContentError as problem:
            return f"{problem.message}\n{problem.hint}", None, set()
        return "", logits, notes - self.notes

    def reading(self, values, drop=()):
        """What the family makes of it, or None where it does not open."""
        try:
            return read(self.folder, self.with_changes(values, drop))
        except ContentError:
            return None

    def with_changes(self, values, drop):
        config = json.loads(json.dumps(self.config))
        for key in [*drop, *values]:
            holder, name = self.holder(config, key)
            holder.pop(name, None)
            if key in values:
                holder[name] = values[key]
        return config

    def holder(self, config, key):
        """The object that a key stands in, and its name there."""
        section, _, name = key.rpartition(".")
        if section != "rope_scaling":
            return config, key
        place = next((k for k in ("rope_scaling", "rope_parameters") if config.get(k)), "")
        if not place:
            place = "rope_parameters"
            config[place] = {"rope_type": "default"}
        return config[place].get("full_attention", config[place]), name

    def has(self, key):
        holder, name = self.holder(json.loads(json.dumps(self.config)), key)
        return name in holder


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Opens each golden model once."""
    known = {}

    def find(name):
        if name not in known:
            known[name] = Golden(name, tmp_path_factory.mktemp("golden"))
        return known[name]

    return find


def own_keys(family):
    """The keys of one model type, each with its measured entry and the golden model it is of."""
    refused = {key: EVERY[key] for key in EVERYWHERE if key in EVERY}
    keys = MEASURED["families"][family] | refused
    return {key: (entry, entry.get("model", FIRST[family])) for key, entry in keys.items()}


def complaint(effect, key, change, logits):
    """What is wrong with attn's reading of a key that has this effect in the reference."""
    error, found, notes = change
    name = key.rpartition(".")[2]
    if error:
        named = name in error
        return "" if effect == "fails" or named else f"refused without its name: {error}"
    if notes:
        return f"not known: {notes}"
    same = np.array_equal(found, logits)
    if effect == "same" and not same:
        return "changes the numbers, and not in the reference"
    return "ignored, and not in the reference" if effect == "other" and same else ""


@pytest.mark.parametrize("family", FIRST)
def test_a_key_does_what_it_does_in_the_reference(family, golden):
    wrong = {}
    for key, (entry, name) in own_keys(family).items():
        model = golden(name)
        change = model.changed({key: entry["trial"]})
        if key not in ON_PURPOSE:
            wrong[key] = complaint(entry["effect"], key, change, model.logits)
    assert {key: what for key, what in wrong.items() if what} == {}


@pytest.mark.parametrize("family", FIRST)
def test_what_changes_nothing_in_any_model_is_taken_in_silence(family, golden):
    model = golden(FIRST[family])
    harmless = {key: entry for key, entry in EVERY.items() if key not in EVERYWHERE}
    assert "other" not in {entry["effect"] for entry in harmless.values()}
    for values in (
        {key: entry["trial"] for key, entry in harmless.items()},
        {key: entry["default"] for key, entry in harmless.items() if "default" in entry},
        dict.fromkeys(harmless),
    ):
        error, logits, notes = model.changed(values)
        assert (error, notes) == ("", set())
        assert np.array_equal(logits, model.logits)


@pytest.mark.parametrize("family", FIRST)
def test_a_default_may_stand_there(family, golden):
    """A key that the file leaves out, with the value that the reference's class has for it."""
    model = golden(FIRST[family])
    keys = MEASURED["families"][family]
    values = {
        key: entry["default"]
        for key, entry in keys.items()
        if "default" in entry and entry["effect"] != "fails" and not model.has(key)
    }
    error, logits, notes = model.changed(values)
    assert (error, notes) == ("", set())
    assert np.array_equal(logits, model.logits)


@pytest.mark.parametrize("family", FIRST)
def test_a_key_that_is_missing_has_the_default_of_the_reference(family, golden):
    model, wrong = golden(FIRST[family]), []
    for key, entry in MEASURED["families"][family].items():
        if entry.get("default") is not None and key not in SIZES[family].split():
            missing = model.reading({}, [key])
            if missing is not None and missing != model.reading({key: entry["default"]}):
                wrong.append(key)
    assert wrong == []


@pytest.mark.parametrize("name", IN_CODE)
def test_a_key_of_older_files_that_is_missing_has_the_default_of_the_reference(name, golden):
    model = golden(f"{name}, older")
    for key, default in IN_CODE[name].items():
        missing = model.reading({}, [key])
        assert missing == model.reading({key: default})
        assert missing not in (None, model.reading({}))


@pytest.mark.parametrize("name", sorted({*FIRST.values(), *MEASURED["older"]}))
def test_files_of_the_reference_have_no_key_that_is_not_known(name, golden):
    for model in [golden(name), *([golden(f"{name}, older")] if name in MEASURED["older"] else [])]:
        said = "\n".join(model.notes)
        assert [key for key in model.config if re.search(rf"\b{key}\b", said)] == []


@pytest.mark.parametrize("family", FIRST)
def test_a_null_is_as_good_as_absent_where_the_reference_reads_it_so(family, golden):
    wrong = {}
    for key, (entry, name) in own_keys(family).items():
        model = golden(name)
        if entry["null"] not in ("absent", "other"):
            continue
        without = model.changed({}, drop=[key])
        if entry["null"] == "absent" and without[1] is not None and not without[2]:
            wrong[key] = complaint("same", key, model.changed({key: None}), without[1])
        if entry["null"] == "other" and without[1] is not None:
            wrong[key] = complaint("other", key, model.changed({key: None}), without[1])
    assert {key: what for key, what in wrong.items() if what} == {}


@pytest.mark.parametrize(("name", "key"), [
    ("mistral-window", "sliding_window"), ("gemma2", "attn_logit_softcapping"),
    ("gemma2", "final_logit_softcapping"), ("llama-yarn", "rope_scaling.truncate"),
])  # fmt: skip
def test_a_null_that_means_something_is_not_as_good_as_absent(name, key, golden):
    model = golden(name)
    none, missing = model.reading({key: None}), model.reading({}, [key])
    assert none is not None and missing is not None and none != missing


@pytest.mark.parametrize("family", FIRST)
def test_what_is_refused_names_the_key_and_can_be_ignored(family, golden):
    model = golden(FIRST[family])
    for key, (value, neutral) in refused_in(family).items():
        error, *_ = model.changed({key: value})
        message, _, hint = error.partition("\n")
        assert key in message and str(model.folder / "config.json") in message
        assert f"--ignore-config {key}" in hint
        error, logits, notes = model.changed({key: value}, ignored=[key])
        assert error == "" and any(key in note for note in notes)
        assert np.array_equal(logits, model.logits)
        for accepted in neutral:
            error, logits, notes = model.changed({key: accepted})
            assert (key, error, notes) == (key, "", set())
            assert np.array_equal(logits, model.logits)


# --- keys that the reference does not know -------------------------------------------------------

UNKNOWN = {
    "unsloth_version": "2024.9", "unsloth_fixed": True, "use_mrope": False, "_num_labels": 1,
    "transformers.js_config": {"dtype": "q4"}, "pruned_heads": {}, "output_past": True,
    "max_sequence_length": 2048, "alibi": True, "xyzzy": None,
}  # fmt: skip


@pytest.mark.parametrize("family", FIRST)
def test_one_note_names_all_keys_that_the_reference_does_not_know(family, golden):
    model = golden(FIRST[family])
    error, logits, notes = model.changed({"xyzzy": [1]})
    assert error == "" and len(notes) == 1 and "xyzzy" in notes.pop()
    error, logits, notes = model.changed(dict(list(UNKNOWN.items())[:4]))
    assert error == "" and len(notes) == 1
    (said,) = notes
    assert [key for key in list(UNKNOWN)[:4] if key not in said] == []
    assert np.array_equal(logits, model.logits)


def test_the_note_does_not_grow_with_the_file(golden):
    model = golden("llama-plain")
    error, logits, notes = model.changed(UNKNOWN | {f"key{n}": n for n in range(500)})
    assert error == "" and len(notes) == 1 and len(notes.pop()) < 400
    error, _, notes = model.changed({500 * "x": 1, "\x1b[31m": 2})
    assert error == "" and len(notes.pop()) < 400
    assert np.array_equal(logits, model.logits)


@pytest.mark.parametrize("name", ["llama-plain", "qwen3-yarn", "gemma3", "phi3-short", "gemma2"])
def test_the_rotary_section_may_have_keys_that_nobody_reads(golden, name):
    model = golden(name)
    error, logits, notes = model.changed({"rope_scaling.xyzzy": 3})
    assert error == "" and len(notes) == 1 and "xyzzy" in notes.pop()
    assert np.array_equal(logits, model.logits)


@pytest.fixture
def pictures(tmp_path):
    """Gemma 3 as a checkpoint that also sees pictures has it: its config in `text_config`."""
    folder = tmp_path / "pictures"
    shutil.copytree(GOLDEN / "gemma3", folder)
    text = json.loads((folder / "config.json").read_text()) | {"final_logit_softcapping": None}
    return folder, {"model_type": "gemma3", "text_config": text, "vision_config": {"a": 1}}


def test_the_config_around_a_text_config_is_judged_too(pictures):
    folder, config = pictures
    logits, notes = opened(folder, config)
    outer = EVERY | MEASURED["families"]["gemma3"]
    known = {k: entry.get("default", 99) for k, entry in outer.items() if k not in EVERYWHERE}
    again, same = opened(folder, config | known)
    assert np.array_equal(again, logits) and same == notes
    _, more = opened(folder, config | {"xyzzy": 1})
    assert len(more - notes) == 1 and "xyzzy" in (more - notes).pop()
    _, more = opened(folder, config | {"text_config": config["text_config"] | {"xyzzy": 1}})
    assert len(more - notes) == 1 and "xyzzy" in (more - notes).pop()


# --- published models ----------------------------------------------------------------------------


LAYERS = (
    "decoder_layers", "num_decoder_layers", "num_layers", "num_hidden_layers", "n_layer",
    "n_layers",
)  # fmt: skip
WIDTHS = ("hidden_size", "n_embd", "n_embed", "d_model", "dim")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_accepted(name):
    config = PUBLISHED[name]
    read = read_published(config)
    # A text within may leave its sizes to the class, of Llama and of Mistral the same.
    text = {"num_hidden_layers": 32, "hidden_size": 4096} if "text_config" in config else {}
    text |= config.get("text_config", config)
    layers = next(text[k] for k in LAYERS if k in text)
    width = next(text[k] for k in WIDTHS if k in text)
    assert (read.layers, read.model_width) == (layers, width)


def test_where_each_published_config_of_a_type_is_from_is_told():
    folder = GOLDEN / "published_types"
    told = " ".join((folder / "README.md").read_text().split())
    names = {name for path in folder.glob("*.json") for name in json.loads(path.read_text())}
    groups = told.partition("# aliases")[2].partition("# ../quantised_sections.json")[0]
    assert set(re.findall("`(.*?)`", groups)) == names


def test_every_family_has_published_configs():
    kinds = {config["model_type"] for config in PUBLISHED.values()}
    of_a_part = {"qwen2_vl_text", "qwen3_vl_text"}
    of_gguf = {
        "gptneox", "t5encoder", "phi2", "starcoder", "command-r", "chatglm", "hunyuan-dense",
        "llama.expert_count", "qwen2moe", "qwen3moe", "gpt-oss", "gptoss", "qwen2vl", "qwen25vl",
        "qwen3vl", "deepseek2",
    }  # fmt: skip
    assert kinds == {*FAMILIES, *COMPOSITES} - of_gguf - of_a_part
    assert len(PUBLISHED) > 50


# --- sizes that no published file leaves out -----------------------------------------------------

ENCODER = (
    "hidden_size num_hidden_layers num_attention_heads vocab_size intermediate_size "
    "max_position_embeddings"
)
SIZES = {
    "gpt2": "n_embd n_layer n_head n_positions vocab_size",
    "llama": "hidden_size num_hidden_layers num_attention_heads vocab_size intermediate_size "
    "max_position_embeddings",
    "mistral": "hidden_size intermediate_size",
    "qwen2": "hidden_size intermediate_size",
    "qwen3": "hidden_size intermediate_size",
    "gemma2": "hidden_size intermediate_size num_hidden_layers",
    "gemma3_text": "hidden_size intermediate_size num_hidden_layers",
    "phi3": "hidden_size intermediate_size num_attention_heads",
    "gpt_neox": "hidden_size intermediate_size num_attention_heads",
    "bloom": "hidden_size n_layer n_head vocab_size",
    "opt": "hidden_size ffn_dim num_attention_heads",
    **dict.fromkeys(("bert", "roberta", "electra", "albert", "deberta-v2", "modernbert"), ENCODER),
    "distilbert": "dim n_layers n_heads hidden_dim vocab_size max_position_embeddings",
    "t5": "d_model d_kv d_ff num_layers num_heads vocab_size",
    "mt5": "d_model d_kv d_ff num_layers num_heads vocab_size",
    "umt5": "d_model d_kv d_ff num_layers num_heads vocab_size",
    "bart": "d_model encoder_layers decoder_layers encoder_attention_heads "
    "decoder_attention_heads encoder_ffn_dim decoder_ffn_dim vocab_size max_position_embeddings",
}


@pytest.mark.parametrize("family", SIZES)
def test_a_size_is_never_made_up(family, golden):
    model = golden(FIRST[family])
    for key in SIZES[family].split():
        error, *_ = model.changed({}, drop=[key])
        assert f"{key} is missing" in error


# --- two spellings of one key --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "own", "standard"), [
    ("gpt2-a", "n_embd", "hidden_size"), ("gpt2-a", "n_layer", "num_hidden_layers"),
    ("gpt2-a", "n_head", "num_attention_heads"),
    ("gpt2-a", "n_positions", "max_position_embeddings"),
    ("bloom", "n_layer", "num_hidden_layers"), ("bloom", "n_head", "num_attention_heads"),
    ("bloom", "hidden_size", "n_embed"), ("t5-gelu", "d_model", "hidden_size"),
    ("t5-gelu", "d_kv", "head_dim"), ("t5-gelu", "num_heads", "num_attention_heads"),
    ("t5-gelu", "num_layers", "num_hidden_layers"), ("bart", "d_model", "hidden_size"),
    ("bart", "encoder_layers", "num_hidden_layers"),
    ("bart", "encoder_attention_heads", "num_attention_heads"),
    ("distilbert", "dim", "hidden_size"), ("distilbert", "n_layers", "num_hidden_layers"),
    ("distilbert", "n_heads", "num_attention_heads"),
])  # fmt: skip
def test_both_spellings_are_read_and_the_standard_one_wins(golden, name, own, standard):
    """As the reference sets a field first and the attributes that map to it after."""
    model = golden(name)
    size = model.config[own]
    for values, drop in (
        ({standard: size}, [own]),
        ({standard: size, own: size}, []),
        ({standard: size, own: 2 * size}, []),
        ({standard: None, own: size}, []),
    ):
        error, logits, notes = model.changed(values, drop)
        assert (error, notes) == ("", set())
        assert np.array_equal(logits, model.logits)
    error, *_ = model.changed({}, drop=[own])
    assert "is missing" in error and own in error
