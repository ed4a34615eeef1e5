"""Chinese: the page of `attn lens`."""

SENTENCES = {
    "lens.since": "在 `{query}` 之后，模型预测 `{token}`（{probability}），它从{since}起位居第一。",
    "lens.since_mask": "对 `{query}`，模型预测 `{token}`（{probability}），它从{since}起位居第一。",
    "lens.last": "在 `{query}` 之后，模型预测 `{token}`（{probability}）；"
    "只有最后一层才使它位居第一。",
    "lens.last_mask": "对 `{query}`，模型预测 `{token}`（{probability}）；"
    "只有最后一层才使它位居第一。",
    "lens.place": "`{token}` 最终名次是 {rank}（{probability}）：模型预测 `{best}`（{chance}）。"
    "它的最好名次是 {first}（{where}）。",
    "lens.nan": "{count} 个位置中有 {broken} 个的 logit 是 NaN 或无穷大，那里无法排名。",
    "lens.many": "{count} 个位置中，有 {early} 个最终预测的词元在最后一层之前就位居第一；有 {late} "
    "个由最后一层改变了第一名。",
    "lens.many_watched": "{count} 个位置中有 {right} 个预测 `{token}`；它在 `{query}` 之后最可能："
    "{probability}，名次 {rank}。",
    "lens.many_watched_mask": "{count} 个位置中有 {right} 个预测 `{token}`；它在 `{query}` "
    "处最可能：{probability}，名次 {rank}。",
    "lens.before": "任何层之前",
    "lens.after": "{where}之后",
    "lens.embedding": "嵌入",
    "lens.what": "每一行取该层之后的{vectors}，直接送入{way}，就像后面没有别的层（logit lens，"
    "nostalgebraist 2020）。只有最后一行是模型的预测：{way}是为最后一层的向量训练的，"
    "所以前面的行可能没有多少意义。",
    "lens.vector": " `{query}` 的向量",
    "lens.vectors": "每个位置的向量",
    "lens.way": "输出矩阵及其偏置",
    "lens.way_norm": "最后的归一化和输出矩阵",
    "lens.way_head": "预测头和输出矩阵",
    "lens.likeliest": "各层之后最可能的词元",
    "lens.watched": "各层之后的 `{token}`",
    "lens.watched_parts": "各层之后的 `{token}`，以及该层给它最终 logit 的贡献",
    "lens.rank": "名次",
    "lens.attention": "注意力",
    "lens.cross": "交叉注意力",
    "lens.cross_column": "交叉",
    "lens.mlp": "前馈网络",
    "lens.mlp_mixed": "其余",
    "lens.biases": "偏置",
    "lens.added": "右边各列把 `{token}` 的最终 logit 拆开：每层的{parts}给它加上多少，"
    "{frozen}（直接 logit 归因，Elhage et al. 2021）。`logit` 属于该行自己的向量，"
    "{own}所以它并不按这些数增长。这些是直接效应：一个部分通过后面的层所起的作用计在那些层。",
    "lens.parts": "注意力和前馈网络",
    "lens.parts_mixed": "注意力和其余部分（前馈网络，以及代替注意力的部件）",
    "lens.parts_cross": "注意力、交叉注意力和前馈网络",
    "lens.frozen_layer": "其中{norms}的均值和尺度冻结在这里的值",
    "lens.frozen_rms": "其中{norms}的尺度冻结在这里的值",
    "lens.norms_last": "最后的归一化",
    "lens.norms_all": "途中每个归一化",
    "lens.own": "经过该行自己的归一化，",
    "lens.sum": "{terms} = {total}。logit 是 {logit}；误差是 {error}。",
    "lens.sum_capped": "{terms} = {total}；软上限 {cap} 使它成为 {logit}。误差是 {error}。",
    "lens.term": "{name} {value}",
    "lens.terms": "{first} + {rest}",
    "lens.heads": "每个头给 `{token}` 的最终 logit 的贡献",
    "lens.cross_heads": "交叉注意力的每个头给 `{token}` 的最终 logit 的贡献",
    "lens.heads_elided": "… 有一部分未显示；--full 显示全部",
    "lens.heads_axes": "行：层   列：头",
    "lens.strongest": "增减最多的部分，共有 {count} 个部分相加得到 logit",
    "lens.part": "部分",
    "lens.adds": "贡献",
    "lens.grid": "各层之后、每个位置上最可能的词元",
    "lens.grid_rank": "各层之后、每个位置上 `{token}` 的名次",
    "lens.each": "最终：每个位置预测的词元，以及它的 logit 由什么相加得到",
    "lens.each_watched": "最终：每个位置上的 `{token}`，以及它的 logit 由什么相加得到",
    "lens.each_plain": "每个位置的最终结果",
    "lens.position": "位置",
    "lens.no_sum": "没有给出注意力和前馈网络对 logit 的贡献：{reason}",
    "lens.spaced": "{option} {word} 读作 {read}，前面带空格；不带空格的是 {option} '<{id}>'",
    "lens.pieces": "{option} {word} 在这里是 {count} 个词元：跟踪最后一个 {last}。"
    "接下来会出现的是第一个 {first}",
}
