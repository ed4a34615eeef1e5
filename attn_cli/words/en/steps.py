"""English: the titles of the six steps, and words of one place that all pages share."""

from attn_cli.vocabulary import STEPS

SENTENCES = {
    **{f"step.name_{step.number}": step.name for step in STEPS},
    **{f"step.equation_{step.number}": step.equation for step in STEPS},
    # what rows and columns are
    "axis.queries": "queries",
    "axis.keys": "keys",
    "axis.query": "query",
    "axis.key": "key",
    "axis.model": "model",
    "axis.width": "width",
    "axis.value_width": "value_width",
    "axis.latent": "latent",
    "axis.bucket": "bucket",
    "axis.embedding": "embedding",
    "remark.what_if": "what-if",
    "stack.encoder": "encoder",
    "stack.decoder": "decoder",
    # lists
    "list.more": "{names} and {count} more",
    "list.and": "{first} and {last}",
    "list.comma": ", ",
}
