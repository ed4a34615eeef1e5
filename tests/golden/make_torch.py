"""Makes small files with torch.save, in the forms that are about, and the numbers in them.

Run by hand where torch is installed; no test runs this, no test needs torch:

    python tests/golden/make_torch.py

It writes `torch/NAME.bin` beside itself for each entry of `FORMS`, and `torch/expected.npz` with
`NAME/TENSOR` for every tensor, in float32. The versions join those in `versions.json`.

Origin and licence: the numbers are drawn here; Apache-2.0.
"""

import collections
import datetime
import json
import platform
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "torch"


def tensors() -> dict[str, torch.Tensor]:
    """Every way in which a tensor lies in its storage, and every type of float."""
    torch.manual_seed(7)
    matrix, shared = torch.randn(5, 3), torch.randn(4, 2)
    linear = torch.nn.Linear(3, 2)
    return collections.OrderedDict(
        {
            "matrix": matrix,
            "turned": torch.randn(4, 6).T,
            "slice": torch.randn(6, 4)[1:4, 1:3],
            "row": matrix[2],
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 3),
            "half": torch.randn(3, 4).half(),
            "brain": torch.randn(3, 5).bfloat16(),
            "double": torch.randn(2, 2).double(),
            "whole": torch.arange(6).reshape(2, 3),
            "flags": torch.tensor([True, False]),
            "embed.weight": shared,
            "lm_head.weight": shared,
            "parameter": torch.nn.Parameter(torch.randn(3)),
            "linear.weight": linear.weight.detach(),
        }
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    forms = {
        "zip": (tensors(), {}),
        "row": (tensors(), {"_use_new_zipfile_serialization": False}),
        "protocol4": (tensors(), {"pickle_protocol": 4}),
        "row-protocol4": (
            tensors(), {"pickle_protocol": 4, "_use_new_zipfile_serialization": False}
        ),
        "module": (module.state_dict(), {}),
        "plain-dict": (dict(tensors()), {}),
    }  # fmt: skip
    expected = {}
    for name, (table, options) in forms.items():
        torch.save(table, FOLDER / f"{name}.bin", **options)
        for key, tensor in table.items():
            expected[f"{name}/{key}"] = tensor.detach().float().numpy()
    np.savez_compressed(FOLDER / "expected.npz", **expected)
    path = HERE / "versions.json"
    versions = json.loads(path.read_text())
    versions["torch files"] = {
        "made": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    path.write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
