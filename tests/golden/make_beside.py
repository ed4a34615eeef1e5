"""Makes folders of tokenizer.json with files beside it, and the reference's ids for each.

Run by hand, first where transformers 4 is installed and then where transformers 5 is; no test runs
this:

    python tests/golden/make_beside.py

Version 4 writes `tokenizers/NAME/tokenizer.json` beside this script: what it makes of some of
`folders/`, as most encoders were published, and one as ModernBERT's.

Both write `beside.json`: `texts`, and in `folders` by name the tokenizer.json that a folder has
(`base`, one of tests/golden; `bare` takes its added tokens out), the `files` beside it, and the ids
that AutoTokenizer gives for each text with and without special tokens: `ids` those of version 5,
`older` those of version 4 where it reads the folder. `pair` has ids and types of the first two
texts as a pair and `mask` the id of the mask token, both of version 5.

Origin and licence: tokenizers, configs and texts are made here; Apache-2.0.
"""

import datetime
import json
import platform
import tempfile
from pathlib import Path

import tokenizers
import transformers

HERE = Path(__file__).resolve().parent
OUT = HERE / "beside.json"
CONVERTED = (
    "bert", "bert-cased", "roberta", "xlm-roberta", "camembert", "albert", "t5", "deberta",
)  # fmt: skip
TEXTS = [
    "<|im_start|>user\nhi <|im_end|>\n  x", "abc<BAZ>def FOO <FOO> the thing the  things",
    "THE [MASK] naïve, think  <mask> and[MASK] <extra_id_0>\t``x''",
    "caf\u00e9 e\u0301 中国 it's we'll 3.14\n\n x", "<s>a</s> <|endoftext|> <unk>b", "",
]  # fmt: skip
CHATML = ["<|im_start|>", "<|im_end|>"]
BYTES, PIECES = "chat/chatml", "tokenizers/llama2"


def token(content: str, **flags: bool) -> dict:
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    return {"content": content, "special": True, **plain, **flags}


def typed(content: str, **flags: bool) -> dict:
    return {"__type": "AddedToken", "content": content, **flags}


def folder(base: str, model: str, config=None, bare: bool = False, **others: dict) -> dict:
    files = {"config.json": {"model_type": model}}
    files |= {f"{name}.json": values for name, values in others.items()}
    files |= {} if config is None else {"tokenizer_config.json": config}
    return {"base": base, "bare": bare, "files": files}


def decoder(base: str, *tokens: dict, bare: bool = False, start: int | None = None) -> dict:
    """These tokens with ids after the vocabulary, or from `start` on."""
    contents = json.loads((HERE / base / "tokenizer.json").read_text())
    taken = list(contents["model"]["vocab"].values())
    taken += [] if bare else [entry["id"] for entry in contents["added_tokens"]]
    first = max(taken) + 1 if start is None else start
    return {"added_tokens_decoder": {str(first + n): one for n, one in enumerate(tokens)}}


def qwen(**config: object) -> dict:
    return {"tokenizer_class": "Qwen2Tokenizer", **config}


FLAGS = [
    token("<FOO>", lstrip=True, rstrip=True), token("thing", special=False, single_word=True),
    token("<BAZ>", special=False, normalized=True, rstrip=True), {"content": "the"},
]  # fmt: skip
FOLDERS = {
    "added-tokens": folder(
        BYTES, "qwen2", qwen(), bare=True, added_tokens={"<|im_start|>": 256, "<|im_end|>": 257}
    ),
    "added-tokens-decoder": folder(
        BYTES, "qwen2", qwen(**decoder(BYTES, *map(token, CHATML), bare=True)), bare=True
    ),
    "special-tokens-map": folder(
        BYTES, "qwen2", qwen(), bare=True,
        special_tokens_map={"additional_special_tokens": CHATML},
    ),
    "all-three": folder(
        BYTES, "llama", {"tokenizer_class": "PreTrainedTokenizerFast"}, bare=True,
        special_tokens_map={"bos_token": {"content": "<s>", "lstrip": True}, "eos_token": "</s>"},
        added_tokens={"</s>": 257, "<s>": 256, "<FOO>": 258},
    ),
    "decoder-before-older-files": folder(
        BYTES, "llama", decoder(BYTES, token("<FOO>"), bare=True), bare=True,
        added_tokens={"<BAZ>": 256}, special_tokens_map={"bos_token": "<s>"},
    ),
    "clash": folder(
        BYTES, "llama", {"tokenizer_class": "PreTrainedTokenizer",
                         **decoder(BYTES, *map(token, CHATML), start=70)},
    ),
    "renamed": folder(
        "tokenizers/qwen2", "qwen3",
        qwen(**decoder("tokenizers/qwen2", token("<FOO>"), token("<BAZ>"), start=300)),
    ),
    "flags-of-the-file": folder(PIECES, "llama", {
        "tokenizer_class": "PreTrainedTokenizerFast", **decoder(PIECES, *FLAGS)}),
    "flags-of-the-class": folder("tokenizers/gpt2", "gpt2", {
        "tokenizer_class": "GPT2Tokenizer", **decoder("tokenizers/gpt2", *FLAGS)}),
    "flags-go": folder("tokenizers/qwen2", "qwen2", qwen(
        extra_special_tokens=[typed("<FOO>", lstrip=True)], bos_token=typed("<BAZ>", rstrip=True))),
    "typed": folder("tokenizers/llama3", "llama", {
        "bos_token": typed("<FOO>", rstrip=True, normalized=True), "my_token": "<BAZ>",
        "extra_special_tokens": {"image_token": "thing"}, "additional_special_tokens": ["ab"]}),
    "empty-list": folder("tokenizers/llama3", "llama", {
        "extra_special_tokens": [], "additional_special_tokens": ["<FOO>"]},
        special_tokens_map={"additional_special_tokens": ["<BAZ>"]}),
    "special-tokens-cut": folder(
        "chat/llama3", "llama", {"split_special_tokens": True, "bos_token": "<|begin_of_text|>"}),
    "gpt2-silent": folder("tokenizers/qwen2", "gpt2"),
    "gpt2-prefix": folder("tokenizers/gpt2", "gpt2", {"add_prefix_space": True}),
    "gpt2-of-digits": folder("tokenizers/llama3", "llama", {"tokenizer_class": "GPT2Tokenizer"}),
    "opt-ends": folder("tokenizers/gpt2", "opt", {
        "add_bos_token": True, "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}),
    "prefix-of-the-file": folder("tokenizers/gpt2", "bloom", {"add_prefix_space": True}),
    "bloom": folder("tokenizers/gpt2", "bloom", {"tokenizer_class": "BloomTokenizerFast"}),
    "neox": folder("tokenizers/gpt2", "gpt_neox", {
        "tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": True,
        "clean_up_tokenization_spaces": True}),
    "neox-ends": folder("tokenizers/llama3", "gpt_neox", {"tokenizer_class": "GPTNeoXTokenizer"}),
    "flags-of-a-known-token": folder(PIECES, "llama", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **decoder(PIECES, token("</s>", rstrip=True), start=2)}),
    "neox-file": folder("tokenizers/gpt2", "gpt_neox", {
        "tokenizer_class": "PreTrainedTokenizerFast"}),
    "qwen-misled": folder("tokenizers/gpt2", "qwen2", {"tokenizer_class": "LlamaTokenizer"}),
    "qwen-prefix": folder("tokenizers/qwen2", "qwen3", qwen(add_prefix_space=True)),
    "llama-silent": folder(PIECES, "llama", {}),
    "llama": folder(PIECES, "llama", {
        "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "legacy": True}),
    "llama-new": folder(PIECES, "llama", {
        "tokenizer_class": "LlamaTokenizer", "add_eos_token": True, "legacy": False}),
    "llama-without-bos": folder(PIECES, "llama", {
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": False}),
    "llama-no-prefix": folder(PIECES, "llama", {
        "tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}),
    "llama-bytes": folder("tokenizers/llama3", "llama", {"tokenizer_class": "LlamaTokenizer"}),
    "phi3": folder(PIECES, "phi3", {
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": False,
        **decoder(PIECES, token("<|im_end|>", rstrip=True), token("<FOO>", rstrip=True))}),
    "mistral": folder("tokenizers/tekken", "mistral", {
        "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": True}),
    "mistral-prefix": folder("chat/mistral", "mistral", {
        "tokenizer_class": "LlamaTokenizer", "add_prefix_space": True}),
    "gemma": folder("chat/gemma", "gemma2", {"tokenizer_class": "GemmaTokenizerFast"}),
    "gemma-pieces": folder(PIECES, "gemma3_text", {"add_bos_token": False, "bos_token": "<s>"}),
    "gemma-file": folder(PIECES, "gemma2", {"tokenizer_class": "PreTrainedTokenizerFast"}),
    "bert": folder("tokenizers/bert", "bert", {
        "do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512},
        special_tokens_map={"mask_token": "[MASK]", "unk_token": "[UNK]"}),
    "bert-silent": folder("tokenizers/bert-cased", "bert", {}),
    "bert-cased": folder("tokenizers/bert-cased", "bert", {"do_lower_case": False}),
    "bert-told-otherwise": folder("tokenizers/bert", "electra", {
        "do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}),
    "bert-named": folder("tokenizers/bert", "bert", {
        "cls_token": "<FOO>", "mask_token": typed("[MASK]", lstrip=True), "pad_token": "[PAD]"}),
    "distilbert": folder("tokenizers/bert", "distilbert"),
    "bert-file": folder("tokenizers/bert-cased", "bert", {
        "tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "[MASK]"}),
    "roberta": folder("tokenizers/roberta", "roberta"),
    "roberta-prefix": folder("tokenizers/roberta", "roberta", {
        "add_prefix_space": True, "trim_offsets": True, "tokenizer_class": "RobertaTokenizer"}),
    "bart": folder("tokenizers/roberta", "bart", {"tokenizer_class": "BartTokenizerFast"}),
    "xlm-roberta": folder("tokenizers/xlm-roberta", "xlm-roberta"),
    "xlm-roberta-fast": folder("tokenizers/xlm-roberta", "xlm-roberta", {
        "tokenizer_class": "XLMRobertaTokenizerFast", "mask_token": typed("<mask>", lstrip=True),
        "sp_model_kwargs": {}}),
    "camembert": folder("tokenizers/camembert", "camembert", {
        "additional_special_tokens": ["<s>NOTUSED", "</s>NOTUSED"]}),
    "albert": folder("tokenizers/albert", "albert"),
    "albert-cased": folder("tokenizers/albert", "albert", {
        "do_lower_case": False, "keep_accents": True}),
    "t5": folder("tokenizers/t5", "t5", {
        "extra_ids": 3, "additional_special_tokens": [f"<extra_id_{n}>" for n in range(3)]}),
    "mt5-silent": folder("tokenizers/t5", "mt5", {"extra_ids": 3}),
    "umt5": folder("tokenizers/t5", "umt5", {"tokenizer_class": "T5Tokenizer", "extra_ids": 3}),
    "umt5-silent": folder("tokenizers/t5", "umt5"),
    "deberta": folder("tokenizers/deberta", "deberta-v2", {
        "tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False}),
    "deberta-lower": folder("tokenizers/deberta", "deberta-v2", {"do_lower_case": True}),
    "modernbert": folder("tokenizers/modernbert", "modernbert", {
        "tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "[MASK]", "cls_token": "[CLS]",
        "sep_token": "[SEP]", "model_input_names": ["input_ids", "attention_mask"]}),
    "modernbert-misled": folder("tokenizers/modernbert", "modernbert", {
        "tokenizer_class": "BertTokenizer", "mask_token": "[MASK]"}),
    "modernbert-silent": folder("tokenizers/modernbert", "modernbert"),
    "saved-by-5": folder("tokenizers/llama3", "llama", {
        "tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<FOO>"]}),
}  # fmt: skip


def lay_out(place: Path, base: str, bare: bool, files: dict, **_: object) -> None:
    contents = json.loads((HERE / base / "tokenizer.json").read_text())
    if bare:
        contents["added_tokens"] = []
    for name, values in {"tokenizer.json": contents, **files}.items():
        (place / name).write_text(json.dumps(values))


def ids_of(recipe: dict) -> dict | None:
    with tempfile.TemporaryDirectory() as place:
        lay_out(Path(place), **recipe)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        except Exception as error:  # as version 4 does where a class is new or wants other files
            print(type(error).__name__, str(error)[:100])
            return None
        pair = tokenizer(*TEXTS[:2])
        types = pair.get("token_type_ids", [0] * len(pair.input_ids))
        return {
            "ids": [[tokenizer(text, add_special_tokens=special).input_ids for text in TEXTS]
                    for special in (True, False)],
            "pair": [pair.input_ids, types],
            "mask": -1 if tokenizer.mask_token_id is None else tokenizer.mask_token_id,
        }  # fmt: skip


def convert() -> None:
    """The tokenizer.json of some folders, and one whose mask token takes the space before it."""
    made = {
        name: transformers.AutoTokenizer.from_pretrained(HERE / "folders" / name).backend_tokenizer
        for name in CONVERTED
    }
    modern = tokenizers.Tokenizer.from_file(str(HERE / "tokenizers" / "gpt2" / "tokenizer.json"))
    modern.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    modern.add_special_tokens([tokenizers.AddedToken("[MASK]", lstrip=True)])
    cls, sep = ((name, modern.token_to_id(name)) for name in ("[CLS]", "[SEP]"))
    modern.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0", [cls, sep]
    )
    for name, library in {**made, "modernbert": modern}.items():
        place = HERE / "tokenizers" / name
        place.mkdir(exist_ok=True)
        library.save(str(place / "tokenizer.json"), pretty=False)


def main() -> None:
    older = int(transformers.__version__.partition(".")[0]) < 5
    if older:
        convert()
    stored = json.loads(OUT.read_text()) if OUT.exists() else {"versions": {}, "folders": {}}
    folders = {name: {**recipe} for name, recipe in FOLDERS.items()}
    for name, recipe in folders.items():
        before = stored["folders"].get(name, {})
        recipe.update({key: before.get(key) for key in ("ids", "older", "pair", "mask")})
        print(name)
        found = ids_of(FOLDERS[name])
        recipe.update({"older": found and found["ids"]} if older else found)
    versions = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    stored["versions"]["older" if older else "newer"] = versions
    document = {"versions": stored["versions"], "texts": TEXTS, "folders": folders}
    OUT.write_text(json.dumps(document, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
