"""Small valid files of every kind that is read, and what is read of each: to be damaged at will."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
from cli.conftest import run
from stores import HubStore, OllamaStore

from attn_cli import notes, session
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.checkpoints.torch import open_torch
from attn_cli.opening.load import tokenizer_of
from attn_cli.opening.quantised import read_scheme
from attn_cli.tokens.absent import Absent
from attn_cli.training import checkpoint, loop, next_token

GOLDEN = Path(__file__).parents[1] / "golden"
PENCIL = Path(session.__file__).parent / "data" / "pencil"
TEXT = "dogs chase the cats"
CORPUS = "the cat sees the dog\na mouse sees a cat\n" * 9
IDS = (0, 1, 2)


class Kind(NamedTuple):
    """A kind of file: `make` puts valid ones into a folder and returns the one to damage; `read`
    gives all that is made of the folder, as something to compare. A damage that is read must give
    the same, unless `unseen` allows it: no check could know that such a file is another one.

    `header`: which bytes of it are flipped, if not all: the others are numbers of tensors.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    unseen: bool = False
    header: Callable[[bytes], Iterable[int]] = lambda data: range(len(data))


def digest(*found: Any) -> str:
    """A fingerprint of arrays and of what shows itself as text."""
    whole = hashlib.sha256()
    for one in found:
        raw = isinstance(one, np.ndarray)
        whole.update(one.tobytes() + str(one.shape).encode() if raw else repr(one).encode())
    return whole.hexdigest()


def model(name: str, ids: tuple[int, ...] = IDS, **options: Any) -> str:
    """A model as it is opened, what is noted of it, and what it computes."""
    opened = session.load(name, **options)
    found = session.trace(model=opened, ids=ids, layer="all")
    arrays = [opened.weights[name] for name in sorted(opened.weights.stored)]
    said = [str(one) for one in notes.model_notes(opened)]
    return digest(opened.config, said, opened.end_tokens, found.logits, *arrays)


def tokens(folder: Path) -> str:
    """A folder's tokenizer by what it makes of a text. Raises what an absent one would."""
    found = tokenizer_of(folder)
    if isinstance(found, Absent):
        raise found.error
    every = [found.id_of(text) for text in ("dogs", "the", "cat", "s")]
    text = "dogs chase cats" if found.id_of("dogs") >= 0 else TEXT
    read = [found.encode(text, special=special) for special in (True, False)]
    return digest(found.size, every, read, found.decode(token.id for token in read[0]))


def _copied(source: Path, name: str, place: Path) -> Path:
    shutil.copytree(source, place, dirs_exist_ok=True)
    return place / name


def _folder(place: Path) -> str:
    return model(str(place))


# --- checkpoints ---------------------------------------------------------------------------------


def _sharded(place: Path, name: str) -> Path:
    shutil.copytree(PENCIL, place, dirs_exist_ok=True)
    arrays = {n: np.array(t.read()) for n, t in open_safetensors(PENCIL / WEIGHTS).items()}
    (place / WEIGHTS).unlink()
    halves, where = list(arrays), {}
    for number, some in enumerate((halves[::2], halves[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        (place / file).write_bytes(encode({n: arrays[n] for n in some}, {}))
        where |= dict.fromkeys(some, file)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (place / f"{WEIGHTS}.index.json").write_text(json.dumps(index, indent=1))
    return place / name


WEIGHTS = "model.safetensors"
_SHAPES = {
    "token_embd.weight": (12, 1), "position_embd.weight": (7, 1), "output_norm.weight": (1,),
    "output_norm.bias": (1,), "blk.0.attn_norm.weight": (1,), "blk.0.attn_norm.bias": (1,),
    "blk.0.attn_qkv.weight": (3, 1), "blk.0.attn_qkv.bias": (3,),
    "blk.0.attn_output.weight": (1, 1), "blk.0.attn_output.bias": (1,),
    "blk.0.ffn_norm.weight": (1,), "blk.0.ffn_norm.bias": (1,),
    "blk.0.ffn_up.weight": (1, 1), "blk.0.ffn_up.bias": (1,),
    "blk.0.ffn_down.weight": (1, 1), "blk.0.ffn_down.bias": (1,),
}  # fmt: skip
# How wide rows must be, and a type of so wide blocks.
_WIDTHS = {"F32": 4, "F16": 4, "Q4_0": 32, "Q8_0": 32, "Q5_1": 32, "Q4_K": 256, "Q6_K": 256}


def gguf_bytes(place: Path, kind: str = "F32") -> bytes:
    """A whole GPT-2 of one layer with a small tokenizer, its matrices of a type."""
    width = _WIDTHS[kind]
    writer = gguf.GGUFWriter(place / "made.gguf", "gpt2")
    writer.add_name("small")
    writer.add_block_count(1)
    writer.add_context_length(7)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*"dogschateĠ", "<|end|>", "do"])
    writer.add_token_types([1] * 10 + [3, 1])
    writer.add_token_merges(["d o"])
    generator = np.random.default_rng(0)
    for name, shape in _SHAPES.items():
        columns = width if len(shape) > 1 or shape == (1,) else shape[0] * width
        rows = shape[0] * (1 if name.endswith("embd.weight") else width)
        wanted = (rows, width) if len(shape) > 1 else (columns,)
        array = generator.standard_normal(wanted, np.float32)
        if len(shape) > 1 and kind != "F32":
            type_ = gguf.GGMLQuantizationType[kind]
            if kind.endswith("_K"):  # which the package does not write: any bytes are numbers
                count = array.size // 256 * gguf.GGML_QUANT_SIZES[type_][1]
                raw = generator.integers(0, 30, (rows, count // rows), np.uint8)
                writer.add_tensor(name, raw, raw_dtype=type_)
                continue
            array = gguf.quants.quantize(array, type_)
            writer.add_tensor(name, array, raw_dtype=type_)
            continue
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (place / "made.gguf").read_bytes()


def _gguf(kind: str, place: Path) -> Path:
    gguf_bytes(place, kind)
    return place / "made.gguf"


def gguf_model(place: Path) -> str:
    """A GGUF file's model, with its tokenizer."""
    name = str(place / "made.gguf")
    opened = session.load(name).tokenizer
    if isinstance(opened, Absent):
        raise opened.error
    return digest(model(name), opened.encode("dogs"), opened.size)


def gguf_header(data: bytes) -> Iterable[int]:
    """Up to the end of what is said of the last tensor."""
    return range(data.rindex(b"blk.0.ffn_down.bias") + 43)


def _torch(name: str, place: Path) -> Path:
    shutil.copy(GOLDEN / "torch" / name, place)
    return place / name


def torch_header(data: bytes) -> Iterable[int]:
    """All but the numbers of storages."""
    if not data.startswith(b"PK"):
        return range(data.rindex(b"]q") if b"]q" in data else len(data) - 900)
    with zipfile.ZipFile(BytesIO(data)) as archive:
        inside = [one for one in archive.infolist() if "/data/" in one.filename]
    starts = [data.index(one.filename.encode()) + len(one.filename) for one in inside]
    skipped = {
        at + n
        for at, one in zip(starts, inside, strict=True)
        for n in range(
            int.from_bytes(data[at - len(one.filename) - 2 :][:2], "little") + one.file_size
        )
    }
    return [n for n in range(len(data)) if n not in skipped]


def torch_file(name: str, place: Path) -> str:
    """The tensors of a file of torch.save."""
    found = open_torch(place / name)
    return digest(*found, *(np.array(tensor.stored()) for tensor in found.values()))


def _packed(name: str, place: Path) -> Path:
    shutil.copy(GOLDEN / "packed" / f"{name}.safetensors", place / WEIGHTS)
    return place / WEIGHTS


def packed(section: dict[str, Any], place: Path) -> str:
    """A matrix of a quantised format."""
    scheme = read_scheme({"quantization_config": section}, "config.json", (), [])
    tensors = open_safetensors(place / WEIGHTS)
    tensors.pop("wanted", None)
    found = scheme.unpack(tensors, "here")
    if list(found) != ["m.weight"]:
        raise Refused("no family has such a tensor")
    return digest(*found, *(tensor.read() for tensor in found.values()))


def _section(name: str) -> dict[str, Any]:
    data = (GOLDEN / "packed" / f"{name}.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["section"])


def safetensors_header(data: bytes) -> Iterable[int]:
    """The length and the header."""
    return range(8 + int.from_bytes(data[:8], "little"))


def _adapter(name: str, place: Path) -> Path:
    return _copied(GOLDEN / "adapters" / "plain", name, place)


def adapted(place: Path) -> str:
    """The model that an adapter is for, with it."""
    return model(str(GOLDEN / "llama-plain"), adapter=str(place))


# --- caches, training ----------------------------------------------------------------------------


def _ollama(place: Path) -> Path:
    data = gguf_bytes(place)
    os.environ["OLLAMA_MODELS"] = str(place / "store")
    return OllamaStore(place / "store").add("small", data)


def _hub(place: Path) -> Path:
    files = {path.name: path.read_bytes() for path in PENCIL.iterdir()}
    os.environ["HF_HUB_CACHE"] = str(place / "hub")
    store = HubStore(place / "hub")
    store.add("someone/small", files)
    return store.entry("someone/small") / "refs" / "main"


def _training(name: str, place: Path) -> Path:
    corpus = next_token.read_corpus(CORPUS)
    settings = loop.settings_for(corpus, {"layers": 1, "heads": 1, "width": 4, "steps": 3})
    run = loop.start(settings, corpus)
    next(loop.train(run))
    checkpoint.save(place, run)
    return place / name


def resumed(place: Path) -> str:
    """A training that is gone on with."""
    corpus = next_token.read_corpus(CORPUS)
    settings = checkpoint.saved_settings(place)
    state = checkpoint.resume(place, settings, corpus)
    arrays = [*state.parameters.values(), *state.moments.first.values()]
    return digest(settings, state.step, *arrays)


# --- what commands read --------------------------------------------------------------------------


def ran(*arguments: object, **options: Any) -> tuple[int, bytes]:
    """A run of the command in this process, whose promises are checked. Raises Refused."""
    result = run(*arguments, partial=True, **options)
    if result.code and not result.out:
        raise Refused(result.said)
    return result.code, result.out


class Refused(Exception):
    """A command has refused a file, with what it said."""


def _written(name: str, arguments: tuple[str, ...], place: Path) -> Path:
    out = run(*arguments, env={"OLLAMA_MODELS": "none"}).out
    (place / name).write_bytes(out)
    return place / name


# A document of every kind that `attn show` reads, each as short as it can be.
ASKED = {
    "trace": ("trace", "dogs chase", "-m", "pencil"),
    "heads": ("heads", "dogs chase", "-m", "pencil"),
    "layers": ("heads", "dogs chase", "--layer", "all"),
    "proof": ("heads", "--prove"),
    "mask": ("mask", "dogs chase", "-m", "pencil"),
    "sample": ("sample", "dogs chase", "-m", "pencil", "--seed", "1", "--top", "2"),
    "loss": ("loss", "the king is"),
    "lens": ("lens", "dogs chase", "-m", "pencil", "--top", "2"),
    "why": ("why", "dogs chase", "-m", "pencil"),
    "compare": ("compare", "dogs chase", "cats chase", "-m", "pencil"),
    "tokens": ("tokens", "dogs chase", "-m", "pencil"),
    "exercise": ("exercise", "dogs chase", "-m", "pencil", "--seed", "1"),
    "embed": ("embed", "dogs", "-m", "pencil"),
    "cost": ("cost", "--preset", "gpt2"),
    "models": ("models", "pencil"),
    "verify": ("verify", "dogs chase", "-m", "pencil"),
}


def _npz(place: Path) -> Path:
    out = BytesIO()
    np.savez(out, tokens=np.array(IDS), **{"blocks.0.hook_resid_pre": np.zeros((3, 2), np.float32)})
    (place / "there.npz").write_bytes(out.getvalue())
    return place / "there.npz"


def verified(place: Path) -> Any:
    """A verdict against a file."""
    ids = ",".join(map(str, IDS))
    asked = ("verify", "-m", "pencil", "--ids", ids, "--against", place / "there.npz", "--json")
    code, out = ran(*asked)
    found = json.loads(out)
    return code, found["result"], found["notes"]


def _mask(place: Path) -> Path:
    (place / "mask.txt").write_text("1 0 0\n1 1 0\n1 1 1\n")
    return place / "mask.txt"


def _answers(place: Path) -> Path:
    (place / "answers.json").write_text('{"1": 0.5, "2": -2, "3": null}')
    return place / "answers.json"


def checked(place: Path) -> Any:
    """Answers to a sheet."""
    sheet = ("exercise", "dogs chase cats", "-m", "pencil", "--seed", "1", "--blanks", "3")
    return ran(*sheet, "--check", place / "answers.json", "--json")


def _shown(place: Path) -> Any:
    return ran("show", place / "saved.json")


def _masked(place: Path) -> Any:
    mask = f"file:{place / 'mask.txt'}"
    return ran("trace", "dogs chase cats", "-m", "pencil", "--mask", mask, "--json")


BINARY = {
    "safetensors": Kind(partial(_copied, PENCIL, WEIGHTS), _folder, header=safetensors_header),
    "shard": Kind(
        partial(_sharded, name="model-00002-of-00002.safetensors"), _folder,
        header=safetensors_header,
    ),
    **{
        f"gguf {kind}": Kind(partial(_gguf, kind), gguf_model, True, gguf_header)
        for kind in _WIDTHS
    },
    **{
        name: Kind(partial(_torch, name), partial(torch_file, name), name.startswith("row"),
                   torch_header)
        for name in ("zip.bin", "row.bin", "protocol4.bin", "row-protocol4.bin", "module.bin")
    },
    **{
        name: Kind(partial(_packed, name), partial(packed, _section(name)), False,
                   safetensors_header)
        for name in ("gptq-4", "awq-all", "nf4", "int8", "fp8-blocks", "mlx-4", "ct-int4-zeros")
    },
    "adapter": Kind(partial(_adapter, "adapter_model.safetensors"), adapted,
                    header=safetensors_header),
    "state": Kind(partial(_training, "training.safetensors"), resumed, header=safetensors_header),
    "npz": Kind(_npz, verified),
}  # fmt: skip
_BART, _BERT, _LLAMA = (GOLDEN / "folders" / name for name in ("bart", "bert", "llama"))
TEXTS = {
    "config": Kind(partial(_copied, PENCIL, "config.json"), _folder, True),
    "index": Kind(partial(_sharded, name=f"{WEIGHTS}.index.json"), _folder, True),
    "adapter config": Kind(partial(_adapter, "adapter_config.json"), adapted, True),
    "manifest": Kind(_ollama, lambda _: model("ollama:small"), True),
    "reference": Kind(_hub, lambda _: model("someone/small"), True),
    "settings": Kind(partial(_training, "training.json"), resumed, True),
    "word pieces": Kind(partial(_copied, PENCIL, "tokenizer.json"), tokens, True),
    "tokenizer": Kind(
        partial(_copied, GOLDEN / "tokenizers" / "llama2", "tokenizer.json"), tokens, True
    ),
    "tokenizer_config": Kind(
        partial(_copied, GOLDEN / "tokenizers" / "llama2", "tokenizer_config.json"), tokens, True
    ),
    "special_tokens_map": Kind(partial(_copied, _BART, "special_tokens_map.json"), tokens, True),
    "vocab.json": Kind(partial(_copied, _BART, "vocab.json"), tokens, True),
    "merges.txt": Kind(partial(_copied, _BART, "merges.txt"), tokens, True),
    "vocab.txt": Kind(partial(_copied, _BERT, "vocab.txt"), tokens, True),
    "spm bpe": Kind(partial(_copied, _LLAMA, "tokenizer.model"), tokens, True),
    "spm unigram": Kind(partial(_copied, GOLDEN / "folders" / "t5", "spiece.model"), tokens, True),
    "answers": Kind(_answers, checked, True),
    "mask": Kind(_mask, _masked, True),
    **{
        f"show {name}": Kind(partial(_written, "saved.json", (*asked, "--json")), _shown, True)
        for name, asked in ASKED.items()
    },
}
KINDS = BINARY | TEXTS
