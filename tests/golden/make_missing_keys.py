"""Makes the list of what the reference library has in the place of a key that config.json lacks.

Run by hand in an environment with torch and transformers; no test runs this, no test needs torch:

    python tests/golden/make_missing_keys.py

It writes `missing_keys.json` beside itself: for a golden config of each model type, and for each
key of it that is left out (`text_config.KEY`, `attn_config.KEY` for those within), the keys that
the reference's class then has otherwise, and their values. Among them are the lists that follow
from others. A key without which the class fails is not there. The date and the versions join those
in `versions.json`, under `missing_keys`.

Origin and licence: made here by this script; Apache-2.0.
"""

import json
from pathlib import Path
from typing import Any

import transformers
from make_config_keys import GOLDEN
from versions import record_versions

HERE = Path(__file__).resolve().parent
# What a file is, and how it was made.
LEFT = {"architectures", "dtype", "model_type", "transformers_version", "_name_or_path"}

SECTIONS = {"attn_config", "text_config", "vision_config"}


def configs() -> dict[str, tuple[str, dict[str, Any]]]:
    """A golden config of each model type, and where it stands below this folder."""
    files = [HERE / names[0] / "config.json" for names in GOLDEN.values() if names]
    files += sorted((HERE / "types").glob("*-a.json"))
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for file in files:
        values = json.loads(file.read_text())
        values = values.get("config", values)
        found.setdefault(values["model_type"], (str(file.relative_to(HERE)), values))
    return found


def resolved(values: dict[str, Any]) -> dict[str, Any]:
    """Everything that the class of a config has, as it would be written."""
    # A copy: the class completes the sections that it is given.
    values = json.loads(json.dumps(values))
    made = transformers.CONFIG_MAPPING[values["model_type"]].from_dict(values)
    return json.loads(made.to_json_string(use_diff=False))


def without(values: dict[str, Any], inside: str) -> dict[str, dict[str, Any]]:
    """For each key of a config, or of a section of it, what changes where it is left out."""
    own = values[inside] if inside else values
    whole, found = resolved(values), {}
    for key in sorted(own.keys() - LEFT - SECTIONS):
        rest = {name: value for name, value in own.items() if name != key}
        try:
            made = resolved(values | {inside: rest} if inside else rest)
        except Exception:  # whatever it is, the reference does not take this config
            continue
        then, before = (one[inside] if inside else one for one in (made, whole))
        found[f"{inside}.{key}" if inside else key] = {
            name: then[name]
            for name in own
            if name in then and name not in LEFT | SECTIONS and then[name] != before[name]
        }
    return found


def main() -> None:
    transformers.logging.set_verbosity_error()
    lines = []
    for kind, (place, values) in sorted(configs().items()):
        found = without(values, "")
        for inside in ("text_config", "attn_config"):
            if inside in values:
                found |= without(values, inside)
        keys = ",\n".join(f"  {json.dumps(key)}: {json.dumps(found[key])}" for key in found)
        lines.append(f' {json.dumps(kind)}: {{"of": {json.dumps(place)}, "missing": {{\n{keys}}}}}')
    (HERE / "missing_keys.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    record_versions("missing_keys")


if __name__ == "__main__":
    main()
