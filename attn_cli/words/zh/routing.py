"""Chinese: which experts tokens are sent to."""

SENTENCES = {
    "routing.title": "专家：每个词元经过 {count} 个中的 {used} 个",
    "routing.title_what_if": "专家：每个词元经过 {count} 个中的 {used} 个（在假设条件下）",
    "routing.what": "下面各层的前馈网络是 {count} 个专家的混合，每个专家自成一个网络。"
    "路由器（又一个学到的矩阵）根据专家将读取的内容为每个词元给专家打分，词元经过{experts}："
    "每个专家的输出乘以它的份额，再相加。",
    "routing.one": "最好的一个",
    "routing.many": "最好的 {count} 个",
    "routing.shared": "还有一个网络，即共享专家，每个词元都经过它。",
    "routing.groups": "专家分为 {groups} 组，只有一个词元最好的 {kept} 组中的专家可以被选中。",
    "routing.corrected": "选择所依据的是加上学到的修正之后的分数，这个修正不属于份额。",
    "routing.not_one": "在这个模型中，一个词元的各份额之和不一定是 1。",
    "routing.layer": "第 {layer} 层",
    "routing.pairs": "专家：份额",
    "routing.pair": "{expert}：{share}",
    "routing.gap": "{first}  {rest}",
    "routing.comma": "{first}，{rest}",
    "routing.used": "这 {tokens}中，经过第 {layer} 层各专家的个数：{used}。",
    "routing.times": "{expert} ×{times}",
    "routing.others": "其余 {count} 个",
    "routing.unused_one": "1 个没有词元经过",
    "routing.unused": "{count} 个没有词元经过",
    "routing.layers": "层",
    "routing.often": "专家 ×词元数",
    "routing.table": "`{query}` 的专家，以及全部 {tokens}中有多少经过各专家",
}
