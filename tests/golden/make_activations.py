"""Makes the values of the reference library's activations, which have no learned numbers.

Run by hand in an environment with torch and transformers; no test runs this, no test needs torch:

    python tests/golden/make_activations.py

It writes `activations.npz` beside itself: `x`, and for each name of `ACT2FN` what it makes of x,
all in float64. The date and the versions join those in `versions.json`, under `activations`.

Origin and licence: numbers are made here by this script; Apache-2.0.
"""

from pathlib import Path

import numpy as np
import torch
from transformers.activations import ACT2FN
from versions import record_versions

LEARNED = {"prelu", "xielu"}


def main() -> None:
    x = torch.linspace(-12, 12, 97, dtype=torch.float64)
    found = {name: ACT2FN[name](x).numpy() for name in ACT2FN if name not in LEARNED}
    np.savez_compressed(Path(__file__).with_name("activations.npz"), x=x.numpy(), **found)
    record_versions("activations")


if __name__ == "__main__":
    main()
