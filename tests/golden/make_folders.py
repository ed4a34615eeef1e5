"""Makes small tokenizers as they are published without a tokenizer.json, and the reference's ids.

Run by hand where transformers, sentencepiece and protobuf are installed; no test runs this:

    python tests/golden/make_folders.py

It writes `folders/NAME/` beside itself, each with a SentencePiece file or with vocab.json and
merges.txt, and `folders.json`: `texts`, and in `ids` those that transformers' AutoTokenizer gives
for each folder, with and without special tokens; in `pairs` the ids and types of the texts in
`PAIRS` as pairs, with and without; in `mask` the id of the mask token.

Origin and licence: corpus, tokenizers and texts are made here; Apache-2.0.
"""

import contextlib
import datetime
import io
import json
import platform
import shutil
import tempfile
from pathlib import Path

import sentencepiece
import tokenizers
import transformers
from make_tokens import TEXTS, byte_level, corpus

HERE = Path(__file__).resolve().parent
FOLDERS = HERE / "folders"
MORE = [
    "<start_of_turn>user\nwho is  it?<end_of_turn>\n", "<|user|>\n who<|end|>  <|assistant|> ",
    "\n\n  a\n", "the\t\tthinker", "<extra_id_0> the [MASK] of", "▁the ▁▁ book",
    "fill  [MASK], <mask> and[MASK]x \u2028<mask>", "\u00c9LAN \u00fcn\u00efc\u00f6d\u00e9 \ufb03",
    "\u4e2d\u6587\u5b57 and \u6f22\u5b57mixed \ud55c\uae00", "think##ing ##s ``the''",
    "x" * 99 + "the thethe", "\u00adsoft\u200d hyphen\ufffd\u0301",
    "the thinker is thinking, thinker isn't\n\nreading", "<FOO>a<BAR>  b <BAZ> </s>",
]  # fmt: skip

PAIRS = [("the thinker", "is  in China"), (" caf\u00e9", "\u4e2d\u56fd"), ("a", "")]

BERTS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


# A few of NFKC's rules, since all of them are 240 KB: code points on the left become the right.
RULES = "".join(f"{left}\t{right}\n" for left, right in (
    ("FB01", "66 69"), ("A0", "20"), ("3000", "20"), ("9", "20"), ("A", "20"), ("BD", "31 32"),
    ("65 301", "E9"), ("2168", "49 58"),
))  # fmt: skip


def trained(**options) -> bytes:
    model = io.BytesIO()
    # The file names where its rules stood: a plain name, the same wherever it is made.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if rules := options.pop("normalization_rule_tsv", ""):
            Path("rules.tsv").write_text(rules)
            options["normalization_rule_tsv"] = "rules.tsv"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus()), model_writer=model, num_threads=1, minloglevel=2,
            character_coverage=0.99, **options,
        )  # fmt: skip
    return model.getvalue()


def words(size: int, lower: bool) -> str:
    """A BERT's vocab.txt: its special tokens first."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=BERTS, show_progress=False
    )
    made.train_from_iterator(corpus(), trainer)
    return "".join(f"{token}\n" for token in sorted(made.get_vocab(), key=made.token_to_id))


def added(content: str, special: bool = True, **flags: bool) -> dict:
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    return {"content": content, "special": special, **plain, **flags}


LLAMA = {
    "model_type": "bpe", "vocab_size": 500, "byte_fallback": True, "split_digits": True,
    "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
}  # fmt: skip
GEMMA = LLAMA | {
    "add_dummy_prefix": False, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3,
    "bos_piece": "<bos>", "eos_piece": "<eos>", "split_by_whitespace": True,
    "user_defined_symbols": [
        "<mask>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "▁▁", "▁▁▁",
    ],
}  # fmt: skip
T5 = {
    "model_type": "unigram", "vocab_size": 300, "pad_id": 0, "eos_id": 1, "unk_id": 2,
    "bos_id": -1, "normalization_rule_tsv": RULES,
}  # fmt: skip
DEBERTA = {
    "model_type": "unigram", "vocab_size": 300, "pad_id": 0, "bos_id": 1, "eos_id": 2,
    "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]",
    "unk_piece": "[UNK]", "normalization_rule_name": "identity",
}  # fmt: skip
XLM = {"model_type": "unigram", "vocab_size": 300, "normalization_rule_tsv": RULES}
ALBERT = {
    "model_type": "unigram", "vocab_size": 250, "pad_id": 0, "unk_id": 1, "bos_id": -1,
    "eos_id": -1, "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
    "normalization_rule_tsv": RULES,
}  # fmt: skip
RECIPES = {
    "llama": {
        "file": "tokenizer.model", "train": LLAMA, "model": "llama",
        "config": {
            "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False,
            "legacy": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        },
    },
    # As Phi-3's: tokens behind the vocabulary that take the white space on their right.
    "phi3": {
        "file": "tokenizer.model", "train": LLAMA, "model": "phi3",
        "config": {
            "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": True,
            "legacy": False, "bos_token": "<s>", "eos_token": "<|end|>", "unk_token": "<unk>",
            "added_tokens_decoder": {
                "0": added("<unk>"), "1": added("<s>"), "2": added("</s>", False, rstrip=True),
                "500": added("<|end|>", rstrip=True), "501": added("<|assistant|>", rstrip=True),
                "502": added("<|user|>", False, rstrip=True),
            },
        },
    },
    # The same, with symbols that are never cut and white space that is not kept.
    "phi3-symbols": {
        "file": "tokenizer.model", "model": "phi3",
        "train": LLAMA | {
            "remove_extra_whitespaces": True, "user_defined_symbols": ["thinker is", "\n\n", "ing"],
        },
        "config": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True},
    },
    # Nothing is said but the class: what the reference then does.
    "bare": {
        "file": "tokenizer.model", "train": LLAMA, "model": "llama",
        "config": {"tokenizer_class": "LlamaTokenizer"},
    },
    # What the reference makes of the file alone, for it does not believe a Mistral's class.
    "mistral": {
        "file": "tokenizer.model", "train": LLAMA, "model": "mistral",
        "config": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": False},
    },
    "no-class": {
        "file": "tokenizer.model", "train": LLAMA, "model": "llama", "config": {"legacy": True},
    },
    "generic": {
        "file": "tokenizer.model", "model": "llama",
        "train": LLAMA | {"model_type": "unigram", "normalization_rule_tsv": RULES},
        "config": {"tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": True},
    },
    "renamed": {
        "file": "tokenizer.model", "train": LLAMA, "model": "mistral",
        "config": {
            "add_bos_token": True,
            "added_tokens_decoder": {
                "300": added("<FOO>"), "417": added("<BAR>"), "500": added("<BAZ>", False),
            },
        },
    },
    # As before tokenizer_config.json had the ids of added tokens.
    "older": {
        "file": "tokenizer.model", "train": LLAMA, "model": "llama",
        "config": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True},
        "more": [
            ("special_tokens_map.json", {
                "bos_token": added("<FOO>"), "pad_token": added("<BAR>", lstrip=True),
                "additional_special_tokens": ["<|user|>"],
            }),
            ("added_tokens.json", {"<BAZ>": 501, "<BAR>": 500}),
        ],
    },
    # As Gemma's: no prefix, symbols that are never cut, whole runs of line ends.
    "gemma": {
        "file": "tokenizer.model", "model": "gemma2",
        "train": GEMMA,
        "config": {
            "tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False,
            "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
            "added_tokens_decoder": {
                "0": added("<pad>"), "1": added("<eos>"), "2": added("<bos>"), "3": added("<unk>"),
                "4": added("<mask>", False), "5": added("<start_of_turn>"),
                "6": added("<end_of_turn>"),
            },
        },
    },
    # A list, which then is the whole one: the file's own symbols are not cut out.
    "gemma-listed": {
        "file": "tokenizer.model", "model": "gemma2", "train": GEMMA,
        "config": {
            "tokenizer_class": "GemmaTokenizer", "boi_token": "<BAR>",
            "additional_special_tokens": ["<start_of_turn>", "<FOO>"],
        },
    },
    "t5": {
        "file": "spiece.model", "model": "t5",
        "train": T5,
        "config": {
            "tokenizer_class": "T5Tokenizer", "extra_ids": 3, "eos_token": "</s>",
            "unk_token": "<unk>", "pad_token": "<pad>",
            "additional_special_tokens": [f"<extra_id_{i}>" for i in range(3)],
        },
    },
    "deberta": {
        "file": "spm.model", "model": "deberta-v2",
        "train": DEBERTA,
        "config": {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False},
    },
    "deberta-named": {
        "file": "spm.model", "model": "deberta-v2", "train": DEBERTA,
        "config": {"cls_token": "<FOO>", "extra_special_tokens": {"my_token": "<BAR>"}},
    },
    "t5-silent": {
        "file": "spiece.model", "model": "t5", "train": T5,
        "config": {"extra_ids": 5, "add_prefix_space": False},
    },
    "gpt2-older": {
        "model": "gpt2", "train": {"special": [], "size": 400}, "config": {"add_bos_token": True},
        "more": [
            ("special_tokens_map.json", {
                "bos_token": "<FOO>", "additional_special_tokens": ["<BAR>"],
            }),
            ("added_tokens.json", {"<BAZ>": 401, "</s>": 400}),
        ],
    },
    "gpt2": {
        "model": "gpt2", "train": {"special": [], "size": 400},
        "config": {"tokenizer_class": "GPT2Tokenizer"},
    },
    # As OPT's: the end of a text stands before it too.
    "opt": {
        "model": "opt", "train": {"special": [], "size": 400},
        "config": {
            "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False,
            "unk_token": {"__type": "AddedToken", **added("</s>", normalized=True)},
            "bos_token": {"__type": "AddedToken", **added("</s>", normalized=True)},
            "eos_token": {"__type": "AddedToken", **added("</s>", normalized=True)},
            "pad_token": "<pad>",
        },
    },
    # As RoBERTa's: the special tokens first, the mask token last.
    "roberta": {
        "model": "roberta", "train": {"special": [], "size": 400}, "config": {},
        "front": ["<s>", "<pad>", "</s>", "<unk>"], "back": ["<mask>"],
    },
    "roberta-named": {
        "model": "roberta", "train": {"special": [], "size": 400},
        "config": {
            "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True,
            "mask_token": {"__type": "AddedToken", **added("<mask>", lstrip=True)},
            "sep_token": "<FOO>", "trim_offsets": False,
        },
        "front": ["<s>", "<pad>", "</s>", "<unk>"], "back": ["<mask>"],
    },
    "bart": {
        "model": "bart", "train": {"special": [], "size": 400},
        "config": {"tokenizer_class": "BartTokenizer", "model_max_length": 1024},
        "front": ["<s>", "<pad>", "</s>", "<unk>"], "back": ["<mask>"],
        "more": [("special_tokens_map.json", {
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>",
            "pad_token": "<pad>", "cls_token": "<s>",
            "mask_token": added("<mask>", lstrip=True),
        })],
    },
    "bert": {
        "model": "bert", "train": {"size": 300, "lower": True}, "config": {"do_lower_case": True},
    },
    "bert-cased": {
        "model": "bert", "train": {"size": 300, "lower": False},
        "config": {
            "tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": None,
            "tokenize_chinese_chars": False, "never_split": ["thinker"], "model_max_length": 512,
        },
    },
    "bert-accents": {
        "model": "bert", "train": {"size": 300, "lower": False},
        "config": {
            "do_lower_case": True, "strip_accents": False, "mask_token": "<FOO>",
            "additional_special_tokens": ["<BAR>"],
        },
    },
    "bert-stripped": {
        "model": "bert", "train": {"size": 300, "lower": False},
        "config": {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False,
                   "strip_accents": True},
    },
    "distilbert": {"model": "distilbert", "train": {"size": 250, "lower": True}, "config": None},
    "distilbert-named": {
        "model": "distilbert", "train": {"size": 250, "lower": True},
        "config": {"tokenizer_class": "DistilBertTokenizer"},
    },
    "electra": {
        "model": "electra", "train": {"size": 250, "lower": True},
        "config": {"tokenizer_class": "ElectraTokenizer"},
        "more": [
            ("special_tokens_map.json", {"mask_token": added("[MASK]", lstrip=True)}),
            ("added_tokens.json", {"<BAZ>": 250}),
        ],
    },
    "xlm-roberta": {
        "file": "sentencepiece.bpe.model", "model": "xlm-roberta", "train": XLM, "config": None,
    },
    "xlm-roberta-named": {
        "file": "sentencepiece.bpe.model", "model": "xlm-roberta", "train": XLM,
        "config": {
            "tokenizer_class": "XLMRobertaTokenizer", "unk_token": "<unk>", "pad_token": "<FOO>",
            "mask_token": {"__type": "AddedToken", **added("<mask>", lstrip=True)},
            "add_prefix_space": False,
        },
    },
    "camembert": {
        "file": "sentencepiece.bpe.model", "model": "camembert", "train": XLM, "config": None,
    },
    "camembert-named": {
        "file": "sentencepiece.bpe.model", "model": "camembert", "train": XLM,
        "config": {
            "tokenizer_class": "CamembertTokenizer",
            "additional_special_tokens": ["<s>NOTUSED", "</s>NOTUSED"],
        },
    },
    "albert": {"file": "spiece.model", "model": "albert", "train": ALBERT, "config": {}},
    "albert-cased": {
        "file": "spiece.model", "model": "albert", "train": ALBERT,
        "config": {
            "tokenizer_class": "AlbertTokenizer", "do_lower_case": False, "keep_accents": True,
            "remove_space": True, "model_input_names": ["input_ids", "token_type_ids"],
        },
    },
    # As mT5's: no tokens behind the vocabulary.
    "mt5": {
        "file": "spiece.model", "model": "mt5", "train": T5,
        "config": {
            "tokenizer_class": "T5Tokenizer", "extra_ids": 0, "additional_special_tokens": None,
        },
        "more": [("special_tokens_map.json", {
            "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
        })],
    },
    "mt5-silent": {"file": "spiece.model", "model": "mt5", "train": T5, "config": None},
    "deberta-lower": {
        "file": "spm.model", "model": "deberta-v2", "train": DEBERTA,
        "config": {
            "do_lower_case": True, "split_by_punct": True, "vocab_type": "spm",
            "add_prefix_space": False,
        },
    },
    "opt-map": {
        "model": "opt", "train": {"special": [], "size": 350},
        "config": {"add_bos_token": True, "add_prefix_space": True},
        "more": [("special_tokens_map.json", {
            "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>",
        })],
    },
}  # fmt: skip


def make(
    name: str, model: str, config: dict | None, train: dict, file: str = "", more=(), front=(),
    back=(),
) -> dict:  # fmt: skip
    folder = FOLDERS / name
    # Word pieces are trained once: the trainer makes others each time.
    kept = (folder / "vocab.txt").read_text() if (folder / "vocab.txt").exists() else ""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if file:
        (folder / file).write_bytes(trained(**train))
    elif "lower" in train:
        (folder / "vocab.txt").write_text(kept or words(**train))
    else:
        byte_level("gpt-2", **train).model.save(str(folder))
        listed = sorted(
            (vocabulary := json.loads((folder / "vocab.json").read_text())), key=vocabulary.get
        )
        numbered = {token: id for id, token in enumerate([*front, *listed, *back])}
        if front:
            (folder / "vocab.json").write_text(json.dumps(numbered) + "\n")
    for other, values in more:
        (folder / other).write_text(json.dumps(values) + "\n")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps({"model_type": model}) + "\n")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    print(name, type(tokenizer).__name__, tokenizer("the thinker").input_ids)
    print(tokenizer.backend_tokenizer.normalizer, tokenizer.backend_tokenizer.pre_tokenizer)
    print([(i, t.content, t.special, t.rstrip) for i, t in tokenizer.added_tokens_decoder.items()])
    both = (True, False)
    pairs = [[tokenizer(*pair, add_special_tokens=s) for pair in PAIRS] for s in both]
    return {
        "ids": [[tokenizer(text, add_special_tokens=s).input_ids for text in TEXTS + MORE]
                for s in both],
        "pairs": [[[one.input_ids, one.get("token_type_ids", [0] * len(one.input_ids))]
                   for one in found] for found in pairs],
        "mask": -1 if tokenizer.mask_token_id is None else tokenizer.mask_token_id,
    }  # fmt: skip


def main() -> None:
    made = {name: make(name, **recipe) for name, recipe in RECIPES.items()}
    versions = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "sentencepiece": sentencepiece.__version__,
    }
    document = {"versions": versions, "texts": TEXTS + MORE, "pair texts": PAIRS}
    for part in ("ids", "pairs", "mask"):
        document[part] = {name: found[part] for name, found in made.items()}
    (HERE / "folders.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
