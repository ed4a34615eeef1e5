"""One file per model family: its config keys, its tensor names, and the order of its operations."""

# The `model_type` of config.json, and the module of this package that knows it.
FAMILIES = {"gpt2": "gpt2"}
# The family whose layout an untrained model takes.
UNTRAINED = "gpt2"
