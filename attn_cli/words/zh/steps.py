"""Chinese: the titles of the six steps, and words of one place that all pages share."""

SENTENCES = {
    "step.name_1": "嵌入",
    "step.name_2": "投影",
    "step.name_3": "点积",
    "step.name_4": "缩放与掩码",
    "step.name_5": "softmax",
    "step.name_6": "加权求和",
    "step.equation_1": "x = 词元向量 + 位置向量",
    "step.equation_2": "q = x·W_Q   k = x·W_K   v = x·W_V",
    "step.equation_3": "scores = q · kᵀ",
    "step.equation_4": "scaled = scores × scale   不可见处 masked = −∞",
    "step.equation_5": "weights = softmax(masked)，每个查询各自计算",
    "step.equation_6": "z = Σ weight × v   output = 对各头的 z·W_O 求和",
    # what rows and columns are
    "axis.queries": "查询",
    "axis.keys": "键",
    "axis.query": "查询",
    "axis.key": "键",
    "axis.model": "模型维度",
    "axis.width": "头内维度",
    "axis.value_width": "值的维度",
    "axis.latent": "潜向量维度",
    "axis.bucket": "距离",
    "axis.embedding": "嵌入维度",
    "remark.what_if": "假设",
    "stack.encoder": "编码器",
    "stack.decoder": "解码器",
    # lists
    "list.more": "{names} 等，另有 {count} 个",
    "list.and": "{first} 和 {last}",
    "list.comma": "，",
}
