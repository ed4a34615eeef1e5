"""Chinese: what the views of a page say."""

SENTENCES = {
    # cells
    "cells.size": "大小：",
    "cells.mark": "{mark} > {least}",
    "cells.largest": "最大 {largest}",
    "cells.nothing": "大小：全为 0",
    "cells.below": "小于零 {marks}",
    "cells.nan": "? NaN",
    "cells.hidden": "{mark} 遮住",
    "cells.columns": "列：",
    "cells.none": "--view {view} 在这里不起作用：这一页没有可画的矩阵",
    # lines
    "lines.tokens": "{count}：{names}",
    "lines.cell": "{row} {arrow} {column} {number}",
    "lines.number": "{row} {arrow} {column}：{number}",
    "lines.rest": "{row}，其余 {count} 个合计 {number}",
    "lines.between": "{row}，其余 {count} 个在 {low} 与 {high} 之间",
    "lines.masked": "{row}，遮住：{names}",
    "lines.weights": "权重   查询 → 键，最大的在前",
    "lines.mask": "掩码   每个查询看得到什么",
    "lines.sees": "{row} 看得到 {all} 个键中的 {seen} 个",
    "lines.hidden": "{row}，新遮住：{names}",
    "lines.opened": "{row}，新打开：{names}",
    "lines.share": "{name} {number}",
    "lines.steps": "第 {first} 至 {last} 步：{number}",
    "lines.gauge": "第 {layer} 层，头 {head}：{number}",
    "lines.ranked": "{header}：{name} {number}",
    # steps of which too little is known
    "bare.title": "按文档所载",
    "bare.title_embed": "x，进入这一层的向量",
    "bare.title_project": "点积所用的查询、键和值",
    # show
    "show.note": "{said}",
    "show.lacks": "来自一份文档。文档没有保存、因此本页不显示的是：{lacks}。",
    "show.positions": "没有要求的查询和键，以及关于它们全体的说明",
    "show.model": "模型有哪些归一化、位置和偏置",
    "show.ending": "这一层的其余部分，以及 logit 怎样得来",
    "show.weights": "weights",
    "show.window": "模型自己的掩码是不是窗口",
    "show.watched": "所跟踪的词和头",
    "note.own_names": "文档没有说明模型有哪些归一化和位置：{names} 保留自己的名称",
}
