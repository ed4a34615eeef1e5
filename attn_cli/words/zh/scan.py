"""Chinese: the page of `attn scan`."""

SENTENCES = {
    "scan.headline": "{files}中的 {prompts}上的 {heads} 个头：{tokens}。",
    "scan.prompts_one": "{count} 个提示",
    "scan.prompts_many": "{count} 个提示",
    "scan.files_one": "{count} 个文件",
    "scan.files_many": "{count} 个文件",
    "scan.ranking": "所有头按 `{column}` 的平均值排名，{order}的在前",
    "scan.deviation": "标准差",
    "scan.p05": "5 百分位",
    "scan.p50": "中位数",
    "scan.p95": "95 百分位",
    "scan.effective_keys": "有效键数",
    "scan.what": "每个数都是所有相关查询的平均值，解码器中不含每个提示的第一个。"
    "百分位和中位数来自草图，误差最多是其自身的 1/64。“有效键数”是 2 的熵次幂："
    "一个查询把权重分给了多少个键。“加权”是把每个权重乘以其值经过 W_O 之后的长度、"
    "再逐行除以总和之后首个词元的份额（Kobayashi et al. 2020）；"
    "“加权前一个”等是其他键的这种份额。",
    "scan.examples": "{head} 的最佳例子，每个提示一个",
    "scan.pairs": "{head} 最常连接的词元：查询权重最大的键，不算第一个词元",
    "scan.query": "查询",
    "scan.key": "键",
    "scan.line": "行",
    "scan.file": "文件",
    "scan.count": "查询数",
    "scan.failed_one": "{count} 行无法测量，已略去",
    "scan.failed_many": "{count} 行无法测量，已略去",
    "scan.blind_one": "所有块中共有 {count} 个查询看不到任何键；其度量为 0",
    "scan.blind_many": "所有块中共有 {count} 个查询看不到任何键；其度量为 0",
    "scan.pairs_below": "词元对多于所能保留的：只统计编号小于 {below} 的词元，全部计入",
    "scan.nonfinite": "{count} 个度量是 NaN、无穷或过大，已略去",
    "scan.lacks": "要写 Parquet 需要软件包 pyarrow",
    "scan.lacks_hint": '安装：pip install "attn-cli[scan]"',
}
