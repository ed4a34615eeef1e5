"""A Hugging Face cache and a store of Ollama, in their real layouts."""

import hashlib
import json
import os
import shutil
from pathlib import Path

COMMIT = "c0ffee" + 34 * "0"


class HubStore:
    """A cache as huggingface_hub writes it: links of a snapshot lead to blobs named by hash."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, name):
        return self.root / ("models--" + name.replace("/", "--"))

    def add(self, name, files, *, commit=COMMIT, ref="main", links=True):
        entry = self.entry(name)
        snapshot = entry / "snapshots" / commit
        for folder in ("blobs", "refs"):
            (entry / folder).mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            path = snapshot / file
            path.parent.mkdir(parents=True, exist_ok=True)
            blob = entry / "blobs" / hashlib.sha256(data).hexdigest()
            blob.write_bytes(data)
            if path.exists():
                continue
            if links:
                path.symlink_to(os.path.relpath(blob, path.parent))
            else:
                shutil.copy(blob, path)
        snapshot.mkdir(parents=True, exist_ok=True)
        if ref:
            reference = entry / "refs" / ref
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(commit)
        return snapshot


class OllamaStore:
    """A store as Ollama writes it: manifests of layers, blobs named by hash."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs").mkdir(parents=True)

    def blob(self, data, separator="-"):
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs" / f"sha256{separator}{digest}").write_bytes(data)
        return f"sha256:{digest}"

    def add(self, name, data, *, kinds=("model",), host="registry.ollama.ai", **changes):
        path, _, tag = name.partition(":")
        path = path if "/" in path else f"library/{path}"
        manifest = self.root / "manifests" / host / path / (tag or "latest")
        manifest.parent.mkdir(parents=True, exist_ok=True)
        layers = [
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": self.blob(data), "size": len(data), **changes,
            }
            for kind in kinds
        ]  # fmt: skip
        template = {
            "mediaType": "application/vnd.ollama.image.template",
            "digest": self.blob(b"{{ .Prompt }}"), "size": 13,
        }  # fmt: skip
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [*layers, template]}))
        return manifest
