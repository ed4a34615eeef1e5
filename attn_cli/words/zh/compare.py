"""Chinese: the page and the notes of `attn compare`."""

SENTENCES = {
    "compare.left": "A（左）",
    "compare.right": "B（右）",
    "compare.same_right": "B（右）：同一个模型和提示",
    "compare.what_if": "B 中的假设：{changes}",
    "compare.equal": "两边都有的行没有一行不同{of}：所有的数直到最后一位都相同。",
    "compare.rounding": "两边都有的行中，没有一行{of}的相对差超过 {relative}：这只是 float32 "
    "的舍入。",
    "compare.different": "A 与 B 差别最大的{of}是{where}的 `{array}`：相对差 {relative}（最大的差 "
    "{largest} 在 {at}）{goes}。",
    "compare.unlike": "A 与 B 在{where}的 `{array}` 中有 {count} 个数不同{of}：它们只在一边有限，"
    "或在两边都不有限{goes}。",
    "compare.chosen": "（在所选范围内）",
    "compare.only_next": "不比较数组，只比较两者的预测{goes}。",
    "compare.only_mask": "所有数组中只比较掩码（`visible`）{goes}。",
    "compare.goes": "；最可能的词元从 `{left}`（{before}）变为 `{right}`（{after}）",
    "compare.stays": "；最可能的词元仍是 `{left}`（{before} 和 {after}）",
    "compare.longer": "B 与 A 开头相同，其中一个更长。解码器的每个查询只看得到自己和之前的词元，"
    "所以添加一个词元不会改变它之前的任何一行。正因如此，读过的词元的键和值可以保存下来（KV "
    "缓存）：下一个词元的查询直接与它们匹配。之前的查询已经问过了，不必保存。",
    "compare.rounds": "差别来自以不同的顺序相加同样的乘积，大小不同的矩阵乘法就是这样。",
    "compare.both_sides": "较长的提示以较短的提示开头。编码器的查询也看得到后面的词元，"
    "所以添加一个词元会改变它之前的各行，什么都不能保存。",
    "compare.first": "第一个{of}差别超过舍入的是{where}的 `{array}`，在第 {step} 步："
    "它之前没有差别。",
    "compare.paired": "{of}比较 {count} 个词元（A 有 {left} 个，B 有 {right} 个）；"
    "其余词元的行和列未计入。",
    "compare.replaced": "{of}有词元被另一个词元取代，两者相互比较：{pairs}。",
    "compare.of": "{stack}：",
    "compare.measure": "相对差是一行中最大的 |A − B|，除以 1 与 A "
    "中该行最大绝对值两者中较大的一个。只写一个 0 表示恰好为 0。",
    "compare.steps": "每层、每步中最大的相对差",
    "compare.steps_cells": "最大的相对差",
    "compare.axes": "行：层   列：步骤",
    "compare.arrays": "每个数组差别最大的地方",
    "compare.step_1": "1 嵌入",
    "compare.step_2": "2 投影",
    "compare.step_3": "3 分数",
    "compare.step_4": "4 掩码",
    "compare.step_5": "5 softmax",
    "compare.step_6": "6 求和",
    "compare.place_encoder_self": "编码器 {layer}",
    "compare.place_decoder_self": "解码器 {layer}",
    "compare.place_decoder_cross": "交叉 {layer}",
    "compare.column_layer": "层",
    "compare.column_largest": "最大",
    "compare.column_mean": "平均",
    "compare.column_relative": "相对",
    "compare.column_at": "最大处",
    "compare.head_at": "头 {head}：{tokens}",
    "compare.cell_at": "{query} → {key}",
    "compare.not_finite": "这些差别不包括只在一边有限的数，例如其中一边遮住的格子的 −∞：{counts}。",
    "compare.count_of": "`{array}` 有 {count} 个",
    "compare.cell_axes": "行：格子",
    "compare.cells": "`{array}` 中变化最大的格子",
    "compare.column_a": "A",
    "compare.column_b": "B",
    "compare.column_change": "变化",
    "compare.next": "{what}，A 与 B",
    "compare.after": "`{left}` 之后的下一个词元",
    "compare.after_two": "A 中 `{left}` 之后、B 中 `{right}` 之后的下一个词元",
    "compare.divergence": "B 的概率对 A 的概率的 KL 散度，即对整个词表求和 Σ A·ln(A ÷ B)：{nats} "
    "nat（0：预测相同）。",
    "compare.no_divergence": "没有 KL 散度：它要求两边词表相同，且 logit 有限。",
    "compare.note_layers": "{left} 有 {of_left} 层，{right} 有 {of_right} 层：比较两边都有的、"
    "编号相同的层",
    "compare.note_arrays": "未比较，因为只有一边有，或形状不同：{arrays}",
    "compare.note_vocabulary": "{left} 与 {right} 的词表不同：词元按文本对齐，预测也按文本比较",
}
