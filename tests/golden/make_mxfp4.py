"""Writes `mxfp4.npz`: blocks and scales, and what transformers makes of them.

`wanted` is of bfloat16, in float32 (expert, input, output). Run by hand where torch is.
"""

from pathlib import Path

import numpy as np
import torch
from transformers.integrations.mxfp4 import convert_moe_packed_tensors
from versions import record_versions

generator = np.random.default_rng(31)
blocks = generator.integers(0, 256, (2, 6, 3, 16), dtype=np.uint8)
scales = generator.integers(0, 252, (2, 6, 3), dtype=np.uint8)
scales.flat[:3] = 0, 1, 251
wanted = convert_moe_packed_tensors(torch.from_numpy(blocks), torch.from_numpy(scales))
wide = convert_moe_packed_tensors(
    torch.from_numpy(blocks), torch.from_numpy(scales), dtype=torch.float32
)
assert torch.equal(wanted.float(), wide)
np.savez_compressed(
    Path(__file__).parent / "mxfp4.npz", blocks=blocks, scales=scales, wanted=wanted.float().numpy()
)
record_versions("mxfp4")
