"""Chinese: what wrote a part of a vector."""

SENTENCES = {
    "writer.token": "词元",
    "writer.position": "位置",
    "writer.type": "分段",
    "writer.embedding": "嵌入",
    "writer.head": "头 {layer}.{head}",
    "writer.cross_head": "交叉头 {layer}.{head}",
    "writer.bias": "输出偏置 {layer}",
    "writer.cross_bias": "交叉输出偏置 {layer}",
    "writer.attention": "注意力 {layer}",
    "writer.cross": "交叉注意力 {layer}",
    "writer.mlp": "前馈网络 {layer}",
    "writer.convolution": "卷积 {layer}",
    "writer.norm": "归一化偏置 {layer}",
    "writer.norm_first": "嵌入的归一化偏置",
    "writer.final_norm": "最后的归一化的偏置",
    "writer.output": "logit 的偏置",
}
