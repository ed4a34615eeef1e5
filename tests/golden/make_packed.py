"""Writes `packed/`: small quantised matrices, and what the library of each form makes of them.

Each file holds the parts of one module `m`, the matrix `wanted` in float32, and the section of
config.json as the metadata `section`. Needs, beside transformers: gptqmodel, autoawq (its
`awq/utils/packing_utils.py` alone, as AUTOAWQ in the environment), bitsandbytes,
compressed-tensors, mlx.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent / "packed"


def write(name, section, parts, wanted):
    tensors = {f"m{end}": value.detach().clone().contiguous() for end, value in parts.items()}
    tensors["wanted"] = wanted.detach().float().contiguous()
    save_file(tensors, HERE / f"{name}.safetensors", {"section": json.dumps(section)})


def random(*shape, scale=0.05):
    return torch.randn(*shape) * scale


def make_gptq():
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

    cases = {
        "gptq-2": (2, 16, 1, False), "gptq-3": (3, 32, 1, False), "gptq-4": (4, 16, 1, False),
        "gptq-8": (8, -1, 1, False), "gptq-acts": (4, 16, 1, True), "gptq-v2": (4, 32, 0, True),
    }  # fmt: skip
    for name, (bits, group, offset, acts) in cases.items():
        inputs, outputs, size = 64, 32, group if group > 0 else 64
        linear = torch.nn.Linear(inputs, outputs, bias=False)
        layer = TorchLinear(
            bits=bits, group_size=group, sym=False, desc_act=acts, in_features=inputs,
            out_features=outputs, bias=False, pack_dtype=torch.int32,
        )  # fmt: skip
        count = inputs // size
        scale = torch.rand(outputs, count) * 0.01 + 0.001
        zero = torch.randint(1, 2**bits, (outputs, count))
        order = torch.randperm(inputs) if acts else torch.arange(inputs)
        layer.pack_block(linear, scale, zero, (order // size).int())
        if offset:  # the first version stores zeros less one
            second = layer.qzeros.data.clone()
            stored = zero.T - 1
            bit = (stored[..., None] >> torch.arange(bits)) & 1
            flat = np.packbits(bit.numpy().astype(np.uint8).reshape(count, -1), -1, "little")
            layer.qzeros.data = torch.from_numpy(flat.view("<i4").copy())
        ends = ("qweight", "qzeros", "scales", "g_idx")
        parts = {f".{end}": getattr(layer, end).detach().clone() for end in ends}
        if offset:
            convert_gptq_v1_to_v2_format_module(layer, bits, torch.int32)
            assert torch.equal(layer.qzeros, second)
        layer.post_init()
        section = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": acts}
        if not offset:
            section["checkpoint_format"] = "gptq_v2"
        write(name, section, parts, layer.dequantize_weight().T)


def make_awq():
    sys.path.insert(0, os.environ["AUTOAWQ"])
    from packing_utils import dequantize_gemm

    low, high = torch.iinfo(torch.int32).min, torch.iinfo(torch.int32).max
    for name, group in {"awq-16": 16, "awq-all": -1}.items():
        inputs, outputs, size = 48, 32, group if group > 0 else 48
        weight = torch.randint(low, high, (inputs, outputs // 8), dtype=torch.int32)
        zeros = torch.randint(low, high, (inputs // size, outputs // 8), dtype=torch.int32)
        scale = (torch.rand(inputs // size, outputs) * 0.01 + 1e-4).half()
        wanted = dequantize_gemm(weight, zeros, scale, 4, size).T
        section = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True,
                   "version": "gemm"}  # fmt: skip
        write(name, section, {".qweight": weight, ".qzeros": zeros, ".scales": scale}, wanted)


def make_bitsandbytes():
    from bitsandbytes import functional

    cases = {
        "nf4": ("nf4", 64, 64, False, torch.uint8), "fp4": ("fp4", 64, 64, False, torch.uint8),
        "nf4-twice": ("nf4", 64, 128, True, torch.uint8),
        "nf4-across": ("nf4", 64, 40, True, torch.bfloat16),
    }  # fmt: skip
    for name, (kind, block, inputs, twice, storage) in cases.items():
        weight = random(26, inputs).to(torch.bfloat16)
        packed, state = functional.quantize_4bit(
            weight, blocksize=block, quant_type=kind, compress_statistics=twice,
            quant_storage=storage,
        )  # fmt: skip
        parts = {f".weight.{key}": value for key, value in state.as_dict(packed=True).items()}
        state.dtype = torch.float32
        section = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False,
                   "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": twice}  # fmt: skip
        wanted = functional.dequantize_4bit(packed, state)
        write(name, section, {".weight": packed, **parts}, wanted)
    codes, largest, _ = functional.int8_vectorwise_quant(random(20, 24).half())
    wanted = functional.int8_vectorwise_dequant(codes, largest)
    parts = {
        ".weight": codes,
        ".SCB": largest,
        ".weight_format": torch.tensor(0, dtype=torch.uint8),
    }
    write("int8", {"quant_method": "bitsandbytes", "load_in_8bit": True}, parts, wanted)


def make_fp8():
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    dequantise = Fp8Dequantize(None)._dequantize_one
    weight = random(32, 48, scale=100).to(torch.float8_e4m3fn)
    grids = {
        "fp8-blocks": ((16, 16), torch.rand(2, 3) * 0.01), "fp8-matrix": (None, torch.rand(())),
        "fp8-powers": ((16, 16), (torch.rand(2, 3) * 0.01).to(torch.float8_e8m0fnu)),
        "fp8-half": ((16, 24), (torch.rand(2, 2) * 0.01).bfloat16()),
    }  # fmt: skip
    for name, (block, scale) in grids.items():
        section = {"quant_method": "fp8", "weight_block_size": block and list(block)}
        parts = {".weight": weight, ".weight_scale_inv": scale}
        if block is None:
            section["activation_scheme"] = "static"
            parts[".activation_scale"] = torch.tensor(0.5)
        grid = scale if scale.ndim else scale.reshape(1, 1)
        write(name, section, parts, dequantise(weight, grid, torch.float32))
    scale = torch.rand(32, 1)
    parts = {".weight": weight, ".weight_scale": scale}
    write("fp8-outputs", {"quant_method": "fbgemm_fp8"}, parts, weight.float() * scale)


def make_compressed():
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    cases = {
        "ct-int8": ("int-quantized", 8, "int", True, "channel", 0, torch.bfloat16),
        "ct-int8-zeros": ("naive-quantized", 8, "int", False, "channel", 0, torch.float16),
        "ct-int8-matrix": ("naive-quantized", 8, "int", True, "tensor", 0, torch.float32),
        "ct-int4": ("pack-quantized", 4, "int", True, "group", 16, torch.bfloat16),
        "ct-int4-zeros": ("pack-quantized", 4, "int", False, "group", 16, torch.float16),
        "ct-int8-packed": ("pack-quantized", 8, "int", True, "channel", 0, torch.float32),
        "ct-fp8": ("float-quantized", 8, "float", True, "channel", 0, torch.bfloat16),
        "ct-fp8-matrix": ("float-quantized", 8, "float", True, "tensor", 0, torch.bfloat16),
        "ct-fp8-blocks": ("float-quantized", 8, "float", True, "block", [16, 16], torch.bfloat16),
        # Products that float16 has no digits for; zeros that fill no words; one zero, unpacked.
        "ct-fp8-half": ("float-quantized", 8, "float", True, "group", 16, torch.float16),
        "ct-int8-odd-zeros": ("pack-quantized", 8, "int", False, "channel", 0, torch.bfloat16),
        "ct-int4-matrix": ("pack-quantized", 4, "int", False, "tensor", 0, torch.bfloat16),
    }  # fmt: skip
    for name, (form, bits, kind, symmetric, strategy, size, dtype) in cases.items():
        outputs, inputs = 40 if strategy == "block" else 33 if "odd" in name else 32, 48
        arguments = {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy}
        if strategy == "group":
            arguments["group_size"] = size
        if strategy == "block":
            arguments["block_structure"] = size
        inputs_of = (
            None
            if form == "pack-quantized"
            else {"num_bits": 8, "type": kind, "dynamic": True, "strategy": "token"}
        )
        scheme = QuantizationScheme(
            targets=["Linear"], weights=arguments, input_activations=inputs_of
        )
        shape = {"channel": (outputs, 1), "tensor": (1,), "group": (outputs, inputs // 16),
                 "block": (3, 3)}[strategy]  # fmt: skip
        scale = (torch.rand(shape) * 0.01 + 0.001).to(dtype)
        if kind == "float":
            scale = scale / 16
        spread = 5e-4 if name == "ct-fp8-half" else 0.05
        state = {"weight": random(outputs, inputs, scale=spread).to(dtype), "weight_scale": scale}
        if not symmetric:
            half = 1 << (bits - 1)
            state["weight_zero_point"] = torch.randint(-half, half, shape, dtype=torch.int8)
        compressor = BaseCompressor.get_value_from_registry(form)
        packed = compressor.compress(state, scheme)
        wanted = compressor.decompress(packed, scheme)["weight"]
        group = {"targets": ["Linear"], "weights": arguments, "input_activations": inputs_of}
        section = {"quant_method": "compressed-tensors", "format": form,
                   "config_groups": {"group_0": group}, "ignore": ["lm_head"]}  # fmt: skip
        write(name, section, {f".{end}": value for end, value in packed.items()}, wanted)


def make_mlx():
    import mlx.core as mx

    kinds = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
    cases = {2: (64, "float16"), 3: (32, "bfloat16"), 4: (64, "bfloat16"), 5: (32, "float32"),
             6: (64, "float16"), 8: (32, "bfloat16")}  # fmt: skip
    for bits, (size, kind) in cases.items():
        weight = mx.array(random(24, 128).numpy()).astype(getattr(mx, kind))
        parts = mx.quantize(weight, group_size=size, bits=bits)
        wanted = mx.dequantize(*parts, group_size=size, bits=bits).astype(mx.float32)
        wanted = torch.from_numpy(np.array(wanted))
        given = [np.array(parts[0]), *(np.array(part.astype(mx.float32)) for part in parts[1:])]
        words, scale, low = (torch.from_numpy(part.copy()) for part in given)
        of = {".weight": words, ".scales": scale.to(kinds[kind]), ".biases": low.to(kinds[kind])}
        write(
            f"mlx-{bits}",
            {"group_size": size, "bits": bits},
            of,
            torch.from_numpy(np.array(wanted)),
        )


MAKERS = SimpleNamespace(
    gptq=make_gptq, awq=make_awq, bitsandbytes=make_bitsandbytes, fp8=make_fp8,
    compressed=make_compressed, mlx=make_mlx,
)  # fmt: skip

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or vars(MAKERS):
        torch.manual_seed(3)
        vars(MAKERS)[name]()
