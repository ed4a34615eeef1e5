"""Chinese: what pictures of pages say."""

SENTENCES = {
    "note.no_picture": "{option} 在这里不起作用：{format} 是权重的图",
    "svg.weights": "权重   {axes}   越深越多",
    "svg.mask": "掩码   {axes}",
    "svg.mask_marked": "掩码   {axes}   − 新遮住   + 新打开",
    "svg.layers": "若干层，每个头记作 层.头",
    "svg.split": "导出量：把{first}作为键分离出来。其余键的权重逐行除以它们的和。",
    "svg.before": "之前",
    "svg.after": "之后",
    "svg.cell": "{row} → {column} {number}",
    "svg.hidden": "{cell}，遮住",
    "svg.unseen": "{row} → {column} 遮住",
    "svg.sees": "{row} → {column} 可见",
    "svg.scale": "深浅：",
    "svg.key_sees": "可见",
    "svg.key_hidden": "遮住",
    "svg.key_nan": "不是有限的数",
    "svg.looks": "{head}：{rows}。",
    "svg.too_large": "这幅图会大到 {size}，超过 {most}",
    "svg.fewer": "少选一些层、头、查询或键：--layer、--head、--query、--key",
}
