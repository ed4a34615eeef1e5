"""Chinese: the pages of `attn heads`."""

SENTENCES = {
    # one layer
    "heads.headline": "在{where}中，头 {sharpest} 看得最集中（熵 {entropy} 比特），头 {strongest} "
    "对 `{query}` 的牵引最强（{norm}）。",
    "heads.some": "在{where}的头 {heads} 中，头 {sharpest} 看得最集中（熵 {entropy} 比特），头 "
    "{strongest} 对 `{query}` 的牵引最强（{norm}）。",
    "heads.one": "{where}的头 {heads} 的熵是 {entropy} 比特，对 `{query}` 的牵引是 {norm}；{all} "
    "个头中有 {left_out} 个未显示。",
    "heads.nothing": "在{where}中没有头可以排名：它们的数是 NaN 或无穷大。",
    "heads.last": "… {count} 个词元中的最后 {shown} 个；--full 显示全部",
    "heads.grids": "权重   每行一个查询，每列一个键，越满越多",
    "heads.columns": "权重   每列一个查询，每行一个键，越满越多",
    "heads.rows": "每头一行   熵和份额：第一个查询之后各查询的平均",
    "heads.where": "每个查询看得最多的键",
    "heads.entropy": "熵",
    "heads.first_share": "看首个",
    "heads.previous_share": "看前一个",
    "heads.self_share": "看自己",
    "heads.sink_share": "看汇点",
    "heads.sink": "在这个模型中每一行都有一个汇点：一个学到的分数，不属于任何键，从 1 中占去一份。"
    "熵把它算作又一个选择；“看汇点”是它的平均份额。",
    "heads.sink_split": "在这个模型中每一行都有一个汇点：一个学到的分数，不属于任何键；"
    "关于其余键的说明也不包括它。“看汇点”是它在整体中的平均份额。",
    "heads.sinks_beside": "{all} 个头中有 {count} 个把一半以上的注意力给了{first}，"
    "尽管行中的汇点可以接收找不到对象的注意力。这会添加什么，取决于那里的值：经过 W_O 之后，"
    "它是其他值的 {value} 倍长（这些头的中位数）。把每个权重乘以其值的长度，"
    "这个词元在这些头中的平均份额是 {weighted}，而不是 {share}。",
    "heads.norm": "范数",
    "heads.cosine": "余弦",
    "heads.sum": "Σ head_output + bias = output：最大误差 {error}。",
    "heads.part": "Σ head_output + bias = output 需要所有的头：--head all。",
    "heads.what": "“熵”以比特计算选择的多少：0 = 一个键占全部，1 = 两个键均分。"
    "“范数”和“余弦”属于对 `{query}` 的牵引；整个注意力块的牵引长度是 {output}。",
    "heads.sharp": "在{where}中，头 {sharpest} 看得最集中（熵 {entropy} 比特）；所显示的头都不牵引 "
    "`{query}`。",
    "heads.rows_all": "每头一行   熵和份额：所有查询的平均",
    # the first token split off
    "heads.split": "导出量：把{first}作为键分离出来。其余键的权重逐行除以它们的和，除{others}之外，"
    "每个数都由此计算。“log₁₀ 余”是它们原来所占份额的平均，以对数计：−3 即千分之一。",
    "heads.but_one": "“看首个”、“范数”和“余弦”",
    "heads.but_all": "“看首个”、“加权”、“值长”、“范数”和“余弦”",
    "heads.log_left": "log₁₀ 余",
    "heads.token": "第一个词元（`{first}`）",
    "heads.tokens": "第一个词元",
    # several layers
    "heads.all": "若干层",
    "heads.at": "{layer}.{head}",
    "heads.at_encoder_self": "编码器 {layer}.{head}",
    "heads.at_decoder_self": "解码器 {layer}.{head}",
    "heads.at_decoder_cross": "交叉 {layer}.{head}",
    "heads.best": "{count} 个头中，{sharpest} 看得最集中（熵 {entropy} 比特），{strongest} 对 "
    "`{query}` 的牵引最强（{norm}）。{strongest} 是第 {layer} 层的头 {head}。",
    "heads.none": "{count} 个头中没有一个可以排名：它们的数是 NaN 或无穷大。",
    "heads.sinks": "{all} 个头中有 {count} 个把一半以上的注意力给了{first}。一行的权重之和为 1，"
    "所以找不到对象的查询也得把它们放在某处。这会添加什么，取决于那里的值：经过 W_O 之后，"
    "它是其他值的 {value} 倍长（这些头的中位数）。把每个权重乘以其值的长度，"
    "这个词元在这些头中的平均份额是 {weighted}，而不是 {share}。",
    "heads.sinks_only": "{all} 个头中有 {count} 个把一半以上的注意力给了{first}。",
    "heads.no_sinks": "没有头把一半以上的注意力给了{first}。",
    "heads.columns_are": "“距离”以词元计。“值长”是第一个词元的值经过 W_O 之后的长度，"
    "除以其他值的平均长度；“加权”是每个权重乘以其值的长度之后它的份额（Kobayashi et al. 2020）。",
    "heads.again": "“重复”是词元在别处也出现（在解码器中：在之前出现）的查询给它别处位置的份额，"
    "“归纳”是它们给那些位置之后的词元的份额。",
    "heads.never_again": "这里没有词元重复出现，所以重复和归纳无从谈起：attn heads --prove "
    "读取有重复的词元。",
    "heads.ranking": "所有的头，按 `{column}` 排序，{order}在前",
    "heads.largest": "最大的",
    "heads.smallest": "最小的",
    "heads.distance": "距离",
    "heads.first_weighted_share": "加权",
    "heads.previous_weighted_share": "加权前一个",
    "heads.self_weighted_share": "加权自己",
    "heads.duplicate_weighted_share": "加权重复",
    "heads.induction_weighted_share": "加权归纳",
    "heads.first_value": "值长",
    "heads.rest_share": "其余",
    "heads.duplicate_share": "重复",
    "heads.induction_share": "归纳",
    "heads.each_layer": "一层的头并排显示：{command}",
    "heads.no_weights": "超过 {most:,} 个词元时不写出 {layers} 层的 weights；--layer L 给出一层的，"
    "attn trace 给出指定的头和查询的",
    # --prove
    "prove.where": "一段随机词元，读两遍",
    "prove.one": "有 1 个归纳头：词元再次出现时，它看向",
    "prove.many": "有 {count} 个归纳头：词元再次出现时，它们看向",
    "prove.headline": "{all} 个头中，{count}该词元上一次出现时后面的词元。",
    "prove.none": "{all} 个头中没有归纳头：最大的归纳分数是 {score}（头 {head}）。",
    "prove.cause": "去掉{them}，第二遍的损失从 {loss} nat 变为 {without} nat。",
    "prove.cause_others": "去掉{them}，第二遍的损失从 {loss} nat 变为 {without} nat；"
    "去掉同样多的其他头，变为 {others} nat。",
    "prove.it": "它",
    "prove.them": "它们",
    "prove.probe": "一段 {size} 个随机词元（种子 {seed}）读两遍，"
    "所以只有第一遍能说明第二遍接下来是什么。分数是平均权重 A[q, k]。在第二遍中：induction，给 q "
    "的前一次出现之后的词元（k = q−{near}）；duplicate，给那一次出现本身（k = q−{size}）。在各处："
    "previous（k = q−1），self（k = q），sink（k = 0，第一个词元）。",
    "prove.null": "得到名称需要分数至少为 {least}，并且大于“零假设”：任何头在没有重复的随机词元上，"
    "在同样的距离（induction、duplicate）或在为每个查询随机抽取的键上（其他名称）所达到的最大值。",
    "prove.loss": "每个名称，以及去掉其头之后第二遍的损失（不去掉：{loss}）",
    "prove.roles": "每个名称",
    "prove.name": "名称",
    "prove.null_column": "零假设",
    "prove.best": "最佳",
    "prove.of": "头",
    "prove.heads": "个数",
    "prove.without": "去掉",
    "prove.without_others": "其他",
    "prove.induction": "induction（归纳）",
    "prove.duplicate": "duplicate（重复）",
    "prove.previous": "previous（前一个）",
    "prove.self": "self（自己）",
    "prove.sink": "sink（汇点）",
    "prove.others": "“去掉”：同时去掉该名称的所有头；“其他”：去掉同一段层中同样多的、除 sink "
    "之外没有名称的头，先取最停留在第一个词元上的。损失不计第二遍的第一个词元，"
    "因为没有什么能预示它。",
    "prove.no_loss": "没有损失，因为这里不预测下一个词元：只有分数。",
    "prove.no_number": "损失不是数（NaN）：只有分数。",
    "prove.named": "有名称的头，按名称排列，分数高的在前",
    "prove.score": "分数",
    "prove.without_it": "去掉后的损失",
    "prove.reads": "读自",
    "prove.composition": "K 组合",
    "prove.next": "其次",
    "prove.composed": "“读自”是其输出被这个头的键读取最多的较早的头，按 K 组合 ‖W_QK·W_OVᵀ‖ / "
    "(‖W_QK‖·‖W_OV‖) 计算（Frobenius 范数；Elhage et al. 2021），“其次”是第二个。"
    "注意力之前的归一化的权重算作矩阵的一部分；旋转和偏置不计。",
    "prove.rests_one": "另有 1 个头",
    "prove.rest_many": "另有 {count} 个头",
    "prove.resting": "{resting}只有 sink 这一个名称：在这个文本上它们停留在第一个词元。attn heads "
    "--layer all --sort first 显示它的值有多短。",
    "prove.what": "名称说明一个头在这个文本上看向哪里，损失说明模型在这个文本上是否需要它。"
    "两者都不说明它在别的文本上不做别的事。",
    # --circuit
    "circuit.where": "{where} · 头 {head}",
    "circuit.headline": "头 {head}：W_QK = W_Q·W_Kᵀ 决定什么与什么匹配，秩是 {rank}（宽度 "
    "{width}）；W_OV = W_V·W_O 决定取走什么，秩是 {ov_rank}。",
    "circuit.headline_latent": "头 {head}：由不旋转的维度得到的 W_QK = W_Q·W_Kᵀ "
    "决定什么与什么匹配（与位置无关），秩是 {rank}（宽度 {width}）；W_OV = W_V·W_O 决定取走什么，"
    "秩是 {ov_rank}。",
    "circuit.folded_latents": "W_Q 经过 q_latent，W_K 和 W_V 经过 kv_latent："
    "每个都是到潜向量的映射与这个头自己的映射的乘积。注意力之前的归一化的权重，"
    "以及潜向量的归一化的权重，都已并入；偏置不属于这两个矩阵。",
    "circuit.folded_latent": "W_K 和 W_V 经过 kv_latent："
    "每个都是到潜向量的映射与这个头自己的映射的乘积。注意力之前的归一化的权重（W_Q 中也有），"
    "以及潜向量的归一化的权重，都已并入；偏置不属于这两个矩阵。",
    "circuit.roots": "潜向量的归一化所除的根没有计入，因为每个词元各有自己的根："
    "大小只用来比较同一个矩阵的各个方向，不是分数的大小。",
    "circuit.root": "潜向量的归一化所除的根没有计入，因为每个词元各有自己的根："
    "大小只用来比较同一个矩阵的各个方向，不是分数的大小。",
    "circuit.unrotated": "W_QK 属于查询和键的前 {count} 个维度。其余的维度会旋转，"
    "在键中不经过这样的归一化，所以没有一个矩阵能同时包含两者。",
    "circuit.folded": "注意力之前的归一化的权重已并入 W_Q、W_K 和 W_V；偏置不属于这两个矩阵。",
    "circuit.folded_cross": "注意力之前的归一化的权重已并入 W_Q；偏置不属于这两个矩阵。"
    "键和值由编码器的向量得到，它们不经过那个归一化。",
    "circuit.unfolded": "在这一层，注意力之前没有归一化：这些矩阵直接读取 x。偏置不属于它们。",
    "circuit.unfolded_normed": "在这个模型中，归一化在注意力之后和前馈网络之后，之前没有："
    "这些矩阵直接读取 x。偏置不属于它们。",
    "circuit.unfolded_after": "在这个模型中，归一化在每个和之后，注意力之前没有："
    "这些矩阵直接读取已经归一化的 x。偏置不属于它们。",
    "circuit.weightless": "注意力之前的归一化没有可并入这些矩阵的权重；偏置不属于它们。",
    "circuit.rotary": "旋转不计，就像查询与键在同一位置。",
    "circuit.stretched": "旋转用来拉长向量的注意力因子 {factor} 也不计。",
    "circuit.longer": "在超过 {limit} 个词元的文本中，它是 {factor}。",
    "circuit.head_norm": "每个查询和每个键在 W_Q 和 W_K 之后经过的归一化不计。",
    "circuit.all_norm": "一个词元在所有头中的查询在 W_Q 之后作为一个向量经过的归一化，以及它的键在 "
    "W_K 之后经过的归一化，都不计。",
    "circuit.grown": "查询随位置增大这一点不计。",
    "circuit.norm_after": "注意力之后、输出加到 x 之前所经过的归一化不计。",
    "circuit.clipped": "查询、键和值的截断不计。",
    "circuit.grouped": "头 {heads} 共用 W_K 和 W_V。",
    "circuit.matrix": "矩阵",
    "circuit.rank": "秩",
    "circuit.half": "半数",
    "circuit.norm": "范数",
    "circuit.value": "σ{number}",
    "circuit.matrices": "两个矩阵，以及它们最大的奇异值",
    "circuit.half_in": "“范数”是 Frobenius 范数；“半数”是占其平方一半的方向的个数。",
    "circuit.symmetric": "如果查询和键用同一个矩阵，W_QK 就是对称的：a 匹配 b，正如 b 匹配 a。"
    "它的对称部分占其范数平方的 {share}（1：对称，0：反对称，0.5：与随机矩阵一样）。",
    "circuit.directions": "W_QK 匹配什么：词表中最靠近它前几个方向的词元",
    "circuit.share": "份额",
    "circuit.queries": "这样的查询",
    "circuit.keys": "匹配这样的键",
    "circuit.pairs": "提示中的词元：谁吸引谁",
    "circuit.score": "分数",
    "circuit.reverse": "反过来",
    "circuit.scores": "“分数”是两个词元自己的向量的 q·k × scale，向量按归一化缩放，包括偏置，"
    "不计位置和前面的层；“反过来”是查询与键互换。",
    "circuit.scores_latent": "“分数”是两个词元自己的向量的 q·k × scale，"
    "向量及其潜向量按各自的归一化缩放，包括偏置和所有维度，不计位置和前面的层；"
    "“反过来”是查询与键互换。",
    "circuit.first": "这里是提示中不同词元的前 {count} 个。",
    "circuit.no_tokens": "嵌入的行比模型窄，所以词元不能通过这些矩阵。",
    "circuit.copying": "W_OV 的特征值的 Σ λ / Σ |λ| 是 {copying}：接近 1 "
    "时这个头写出它所读的（复制，Elhage et al. 2021），接近 −1 时写出相反的。",
    "circuit.copies": "复制什么：看向一个键时变得更可能的词元",
    "circuit.own": "自身排名",
    "circuit.outputs": "提升最多",
    "circuit.copied": "词元自己的向量经过 W_OV、最后的归一化和输出矩阵。{count} 个词元中有 {own} "
    "个提升最多的是自己。",
    "circuit.no_outputs": "这个栈的向量之后没有输出矩阵，所以输出无从谈起。",
}
