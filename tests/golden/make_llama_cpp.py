"""Makes the ids that llama.cpp gives for tokenizers in GGUF files.

Run by hand where cyllama, which carries llama.cpp, and gguf are installed; no test runs this:

    python tests/golden/make_llama_cpp.py

It writes `llama_cpp.json` beside itself: `texts`, and in `files` by name what a file says (`base`,
one of tests/golden/tokenizers, and what is changed in it) with the `ids` of each text with and
without the tokens that are added around it. `metadata` makes the same file's keys for a test.

Origin and licence: tokenizers and texts are made here; Apache-2.0.
"""

import base64
import datetime
import json
import platform
import random
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "llama_cpp.json"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
PRE = {"gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2": "qwen2", "tekken": "tekken",
       "roberta": "roberta-bpe"}  # fmt: skip
TEXTS = [
    "the greatest thinker in China is", "at the", "Hello world 1234 it's", "  two  spaces ",
    "\u4e2d\u56fd \u00bd na\u00efve", "<s>a</s>  b<unk>\n\n<|end|> \t<|user|>\nthe<|endoftext|> x",
    "aaaaaaaaaaaaaaa bababababa ananananana thethethe", "",
    "The [MASK] Thinker, na\u00efve CAF\u00c9!\u3000 <mask> the <extra_id_0>it ##ing </s>a[SEP]",
    "thinking \ufb01sh \u2168 $3.14 \u4e2d\u6587 x\U0001f600y \u00adsoft\u200d\t\ufffd",
    "\u2581the \u2581",
    "the" * 40 + " \u0130 \ud55c\uae00 a_b\x01c  ",
]  # fmt: skip
MARKERS = [["<|user|>", CONTROL], ["<|end|>", CONTROL], ["<|endoftext|>", CONTROL],
           ["ing", USER_DEFINED]]  # fmt: skip
# Where a name says Phi-3, llama.cpp wants these.
NAMED = [[text, CONTROL] for text in ("<unk>", "<s>", "</s>")]


def file(base: str, scores: str = "ranks", **more: object) -> dict:
    return {"base": base, "scores": scores, "markers": [], "keys": {}, **more}


FILES = {
    "llama": file("llama2"),
    "equal-scores": file("llama2", "equal"),
    "few-scores": file("llama2", "few"),
    "random-scores": file("llama2", "random"),
    "no-prefix": file("llama2", "few", keys={"add_space_prefix": False}),
    "no-bos": file("llama2", "few", keys={"add_bos_token": False, "add_eos_token": True}),
    "markers": file("llama2", markers=MARKERS),
    "phi3": file("llama2", markers=MARKERS, name="Phi-3-mini-4k-instruct"),
    "phi3-other-name": file("llama2", markers=MARKERS, name="made by phi3"),
    "phi3-as-architecture": file("llama2", markers=MARKERS, architecture="phi3", name="Phi 3.5"),
    "phi3-bytes": file("gpt2", markers=[*MARKERS[:3], *NAMED], name="My PHI-3 tune"),
    **{name: file(name) for name in PRE},
    "bert": file("bert", keys={"token_type_count": 2}),
    "bert-cased": file("bert-cased"),
    "bert-user-defined": file("bert", markers=[["\u2581ing", USER_DEFINED], ["[x]", CONTROL]]),
    "t5": file("t5"),
    "t5-spaces": file("t5", keys={"remove_extra_whitespaces": False}),
    "t5-bare": file("t5", keys={
        "remove_extra_whitespaces": False, "add_space_prefix": False, "add_eos_token": False}),
    "t5-user-defined": file("t5", "few", markers=[["ing", USER_DEFINED], ["\u2581thinker is", 5]]),
    "t5-no-charsmap": file("t5", "equal", keys={"precompiled_charsmap": None}),
    "t5-fewer": file("t5", keys={"add_space_prefix": False}),
    "xlm-roberta": file("xlm-roberta", keys={
        "add_bos_token": True, "bos_token_id": 0, "eos_token_id": 2, "add_sep_token": True}),
}  # fmt: skip


def phantom(token: str, kind: int) -> str:
    """A word piece as convert_hf_to_gguf.py spells it."""
    if kind == CONTROL:
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def parts(normalizer: dict) -> list[dict]:
    return normalizer.get("normalizers", [normalizer])


def metadata(recipe: dict) -> dict:
    """The keys of the file under their names there."""
    stored = json.loads((HERE / "tokenizers" / recipe["base"] / "tokenizer.json").read_text())
    vocabulary = stored["model"]["vocab"]
    if isinstance(vocabulary, list):  # with scores
        vocabulary = {text: id for id, (text, _) in enumerate(vocabulary)}
    entries = {id: text for text, id in vocabulary.items()}
    types = {id: BYTE if text.startswith("<0x") else NORMAL for id, text in entries.items()}
    for added in stored["added_tokens"]:
        entries[added["id"]] = added["content"]
        types[added["id"]] = UNKNOWN if added["content"] == "<unk>" else CONTROL
    if stored["model"]["type"] == "WordPiece":
        entries = {id: phantom(text, types[id]) for id, text in entries.items()}
    for text, kind in recipe["markers"]:
        found = next((id for id, entry in entries.items() if entry == text), len(entries))
        entries[found], types[found] = text, kind
    tokens = [entries[id] for id in sorted(entries)]
    keys = {"tokens": tokens, "token_type": [types[id] for id in sorted(types)]}
    ids = {text: id for id, text in entries.items()}
    first = keys["token_type"].index(CONTROL)
    keys |= {"bos_token_id": first, "eos_token_id": first}
    if stored["model"]["type"] == "WordPiece":
        named = {"bos": "[CLS]", "seperator": "[SEP]", "unknown": "[UNK]", "mask": "[MASK]"}
        keys |= {"model": "bert", **{f"{name}_token_id": ids[text] for name, text in named.items()}}
    elif stored["model"]["type"] == "Unigram":
        rng = random.Random(5)
        given = [score for _, score in stored["model"]["vocab"]]
        make = {"ranks": lambda id: given[id], "equal": lambda id: -1.0,
                "few": lambda id: -float(id % 3 + 1)}  # fmt: skip
        scores = [make[recipe["scores"]](id) if id < len(given) else 0.0 for id in sorted(entries)]
        [charsmap] = (one["precompiled_charsmap"] for one in parts(stored["normalizer"])
                      if "precompiled_charsmap" in one)  # fmt: skip
        keys |= {
            "model": "t5", "scores": scores, "unknown_token_id": stored["model"]["unk_id"],
            "eos_token_id": ids["</s>"], "add_space_prefix": True,
            "remove_extra_whitespaces": True, "precompiled_charsmap": [*base64.b64decode(charsmap)],
        }  # fmt: skip
        keys |= {"mask_token_id": ids["<mask>"]} if "<mask>" in ids else {}
    elif recipe["base"] in PRE:
        merges = [pair if isinstance(pair, str) else " ".join(pair)
                  for pair in stored["model"]["merges"]]  # fmt: skip
        keys |= {"model": "gpt2", "pre": PRE[recipe["base"]], "merges": merges}
    else:
        rng = random.Random(5)
        make = {"ranks": lambda id: -float(id), "equal": lambda id: -1.0,
                "few": lambda id: -float(id % 3), "random": lambda id: -rng.random()}  # fmt: skip
        scores = [make[recipe["scores"]](id) for id in range(len(tokens))]
        keys |= {"model": "llama", "pre": "default", "scores": scores, "unknown_token_id": 0}
    given = {name: value for name, value in (keys | recipe["keys"]).items() if value is not None}
    whole = {f"tokenizer.ggml.{name}": value for name, value in given.items()}
    return {"general.name": recipe.get("name", "made here"), **whole}


def write(path: Path, recipe: dict) -> None:
    import gguf
    import numpy as np

    kind = recipe.get("architecture", "llama")
    writer = gguf.GGUFWriter(path, kind)
    for key, value in metadata(recipe).items():
        if isinstance(value, list):
            writer.add_array(key, bytes(value) if key.endswith("charsmap") else value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_uint32(key, value)
    for key in ("context_length", "embedding_length", "feed_forward_length"):
        writer.add_uint32(f"{kind}.{key}", 32)
    writer.add_uint32(f"{kind}.block_count", 1)
    writer.add_uint32(f"{kind}.attention.head_count", 4)
    writer.add_float32(f"{kind}.attention.layer_norm_rms_epsilon", 1e-5)
    # The weights do not matter, but llama.cpp wants all of them.
    rows = len(metadata(recipe)["tokenizer.ggml.tokens"])
    vectors = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    square = ("blk.0.attn_output", "blk.0.ffn_down")
    if kind == "phi3":
        wide = {"blk.0.attn_qkv": 96, "blk.0.ffn_up": 64}
    else:
        wide = dict.fromkeys((f"blk.0.attn_{letter}" for letter in "qkv"), 32)
        wide |= {"blk.0.ffn_gate": 32, "blk.0.ffn_up": 32}
    wide |= dict.fromkeys(square, 32) | {"token_embd": rows, "output": rows}
    shapes = dict.fromkeys(vectors, (32,)) | {name: (n, 32) for name, n in wide.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ids_of(recipe: dict) -> list[list[list[int]]]:
    from cyllama.llama import llama_cpp

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "made.gguf"
        write(path, recipe)
        model = llama_cpp.LlamaModel(str(path), llama_cpp.LlamaModelParams())
        vocabulary = model.get_vocab()  # which does not keep the model
        return [
            [list(vocabulary.tokenize(text, special, True)) if text else [] for text in TEXTS]
            for special in (True, False)
        ]


def main() -> None:
    import importlib.metadata

    from cyllama.llama import llama_cpp

    llama_cpp.disable_logging()
    files = {name: {**recipe, "ids": ids_of(recipe)} for name, recipe in FILES.items()}
    versions = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "cyllama": importlib.metadata.version("cyllama"),
        "llama.cpp": sys.argv[1] if len(sys.argv) > 1 else "b9190",
    }
    document = {"versions": versions, "texts": TEXTS, "files": files}
    OUT.write_text(json.dumps(document, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
