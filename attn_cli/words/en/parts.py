"""English: what wrote a part of a vector."""

SENTENCES = {
    "writer.token": "token",
    "writer.position": "position",
    "writer.type": "segment",
    "writer.embedding": "embedding",
    "writer.head": "head {layer}.{head}",
    "writer.cross_head": "cross head {layer}.{head}",
    "writer.bias": "output bias {layer}",
    "writer.cross_bias": "cross output bias {layer}",
    "writer.attention": "attention {layer}",
    "writer.cross": "cross-attention {layer}",
    "writer.mlp": "mlp {layer}",
    "writer.convolution": "convolution {layer}",
    "writer.norm": "norm biases {layer}",
    "writer.norm_first": "norm bias of the embedding",
    "writer.final_norm": "bias of the last norm",
    "writer.output": "bias of the logit",
}
