"""Which versions made the goldens, for the scripts beside this file that run the reference."""

import datetime
import json
import platform
from pathlib import Path

import numpy as np
import torch
import transformers

VERSIONS = Path(__file__).resolve().parent / "versions.json"


def record_versions(name: str) -> None:
    """Writes down, under a name, when its goldens were made and with which versions: now."""
    versions = json.loads(VERSIONS.read_text())
    versions[name] = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    VERSIONS.write_text(json.dumps(versions, indent=2) + "\n")
