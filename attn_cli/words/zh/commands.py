"""Chinese: the pages of the other commands."""

SENTENCES = {
    # mask
    "mask.headline": "{mask}：{cells} 个格子中遮住 {removed} 个，打开 {added} 个；{effect}{goes}。",
    "mask.moves": "`{query}` 有 {moved} 的注意力换了地方",
    "mask.vanishes": "`{query}` 再也看不到任何键，注意力全部消失",
    "mask.vanishes_sink": "`{query}` 再也看不到任何键，它的汇点占去全部",
    "mask.appears": "`{query}` 原先看不到任何键，现在看得到了",
    "mask.gone": "全部消失",
    "mask.new": "全是新的",
    "mask.none": "无掩码",
    "mask.own": "模型自己的掩码",
    "mask.compared": "之前 = {before}   之后 = {after}   {where} · 头 {head}",
    "mask.picture": "掩码   ● 可见   · 遮住   − 新遮住   + 新打开",
    "mask.why": "为什么未来不能影响过去：训练时所有位置同时预测各自的下一个词元。"
    "如果查询看得到后面的键，模型就会直接读出答案，而不是预测它。生成时后面的键并不存在，"
    "那样它就什么也没有学会。",
    "mask.value": "遮住处为 {value}",
    "mask.value_gets": "{value} 时，这些键仍有权重：`{query}` 把 {share} 的注意力给了它们，"
    "可见的键只剩 {left}。",
    "mask.value_low": "{value} 时，遮住的键几乎没有权重：e 的这个次幂与可见键的幂相比微不足道。",
    "mask.value_why": "softmax 对每个分数取 e 的幂。e⁰ 是 1，与普通的分数一样大；只有 e 的 −∞ "
    "次幂是 0。在 softmax 之后把权重置为 0 也不行：可见键的权重之和就不再是 1。",
    "mask.valued": "遮住的格子，它们取一个数而不是 −∞",
    "mask.shares": "每个查询的权重，按它可以看的键和其余的键分别求和",
    "mask.column_visible": "可见的键",
    "mask.column_hidden": "遮住的键",
    "mask.column_weight": "之前的权重",
    "mask.removed": "新遮住的格子，以及它们的分数和权重",
    "mask.added": "新打开的格子，以及它们的分数和得到的权重",
    "mask.more": "… 另有 {count} 个（--full 显示全部）",
    "mask.moved": "每个词元：移到其他键的注意力，以及 `output` 移动了多远",
    "mask.moved_sink": "每个词元：移到其他键或汇点的注意力，以及 `output` 移动了多远",
    "mask.next": "{what}，之前与之后",
    "mask.weights_before": "之前的权重",
    "mask.weights_after": "之后的权重",
    "mask.column_moved": "移动",
    "mask.column_change": "output 的变化",
    "mask.column_length": "之前的长度",
    "mask.column_before": "之前",
    "mask.same": "这个掩码在这里不改变任何东西。",
    "mask.example": "，所以 `{query}` 不可以看 `{key}`",
    "mask.infinite": "它们变为 −∞，softmax 把 −∞ 变成 0。",
    "mask.goes": "，{token} 从 {before} 变为 {after}",
    # sample
    "sample.moves": "温度 {temperature} 移动了 {moved} 的概率：{loser} 失去最多（{lost}），"
    "{gainer} 得到最多（{gained}）。",
    "sample.unmoved": "温度 {temperature} 在这里不移动任何概率。",
    "sample.formula": "p = softmax(logits / T)：每个 logit 先除以温度 T。",
    "sample.formula_zero": "T → 0 时的 p = softmax(logits / T)：最大的 logit 占全部。",
    "sample.neutral": "温度 1 使概率保持模型给出的样子。",
    "sample.filtered": "经过 {filters}，{total} 个词元中留下 {kept} 个：{token} 从 {before} 变为 "
    "{after}。",
    "sample.greedy": "温度 0 每次都取最可能的词元 {token}。",
    "sample.order": "按此顺序应用：{order}",
    "sample.filters": "按此顺序应用：{order}；留下的再除以它们的和。",
    "sample.candidates": "`{query}` 之后的候选词元   {total} 个词元中留下 {kept} 个",
    "sample.drawn": "以种子 {seed} 抽取",
    "sample.text": "{prompt} → {text}",
    "sample.counts": "以种子 {seed} 抽取 {draws} 次：预期的与观察到的份额",
    "sample.sweep": "同样的候选词元在各个温度下",
    "sample.column_position": "位置",
    "sample.column_before": "温度 1",
    "sample.column_expected": "预期",
    "sample.column_observed": "观察",
    "sample.column_count": "次数",
    # loss
    "loss.headline": "{count} 个下一词元中，模型的最佳猜测对了 {right} 个；平均损失是 {mean} nat，"
    "{means}。",
    "loss.what": "一次计算预测每一个下一词元：因果掩码使每个位置只看得到自己和之前的词元，"
    "所以一个句子就给出 {predictions}。",
    "loss.open": "一次计算预测每一个下一词元。在掩码让某个位置看得到下一词元的地方，"
    "没有什么可预测的。",
    "loss.formula": "损失 = −ln（实际出现的下一词元的概率），单位 nat。",
    "loss.one": "1 个下一词元中，模型的最佳猜测对了 {right} 个；损失是 {mean} nat，{means}。",
    "loss.uncertain": "困惑度 {perplexity}：就像在这么多个词元中均匀地选择",
    "loss.confident": "比在全部 {vocabulary} 个词元中均匀猜测的 {blind} nat 还多："
    "模型在错的地方错得很有把握",
    "loss.nan": "{count} 个损失中有 {broken} 个不是数（NaN）；其余的之中，模型的最佳猜测对了 "
    "{right} 个。",
    "loss.trained_one": "1 个训练样本",
    "loss.trained_many": "{count} 个训练样本",
    "loss.title": "每个位置和它的下一词元",
    "loss.column_comes": "实际出现",
    "loss.column_rank": "排名",
    "loss.column_loss": "损失",
    "loss.column_best": "最佳猜测",
    "loss.column_its": "其概率",
    # train
    "training.step": "第 {step} / {steps} 步",
    "training.progress": "{tokens} 词元/秒   还剩 {left}",
    "training.loss": "损失 {loss}   下限 {floor}   {side}   每词元 nat，最多取最近 {recent} "
    "步的平均",
    "training.attention": "`{prompt}` 的最后一个词元有多看 `{key}`，最多的在前",
    "training.attention_of": "`{prompt}` 中的 `{query}` 有多看 `{key}`，最多的在前",
    "training.attention_translate": "写出的第一个词有多看 `{prompt}` 中的 `{key}`，最多的在前",
    "training.neighbours": "与 `{word}` 最近的词：向量相似（按余弦）",
    "training.moved": "`{word}` 从随机的起点移动了 {moved}",
    "training.now": "现在",
    "training.start": "开始时",
    "training.line": "第 {step} 步，共 {steps} 步   损失 {loss}   下限 {floor}   {tokens} 词元/秒  "
    " 还剩 {left}",
    "training.result": "{checkpoint}：{steps} 步，用时 {time}；损失每词元 {loss} nat（最后 {last} "
    "步的平均），{side}。",
    "training.above": "比下限高 {amount}",
    "training.below": "比下限低 {amount}",
    "training.over": "高出 {amount}",
    "training.under": "低出 {amount}",
    "training.what": "损失是 −ln p，其中 p 是给实际出现的下一词元的概率；单位是 nat。"
    "下限是这样一个模型的损失：它知道在这份语料中每个词接在每个句首之后的频率；在整份语料上平均，"
    "只看得到之前各词的模型不可能低于它。",
    "training.what_masked": "选出一些词元：其中十分之八藏在 [MASK] 后面，十分之一换成任意一个词，"
    "十分之一保持原样。损失是 −ln p，其中 p 是给被选词元的概率；单位是 nat。"
    "下限是这样一个模型的损失：它知道每个句子在这份语料中的频率；对所有选取和隐藏的方式平均，"
    "只看得到剩余部分的模型不可能低于它。",
    "training.what_translate": "损失是 −ln p，其中 p 是给译文中实际出现的下一词元的概率；单位是 "
    "nat。下限是这样一个模型的损失：它知道在这份语料中每个源文本有每种译文的频率；"
    "在整份语料上平均，没有模型能低于它。",
    "training.heads": "在这里和文件中，一层的头按它们有多看上述词元编号，最多的在前。",
    "training.unmasked": "没有掩码时，每个位置都能读到它要预测的词元，而损失不会惩罚这一点。"
    "模型写作时，那个词元还不存在。参见：{command}",
    "training.saved": "已在第 {step} 步之后保存；继续训练：{again}",
    "training.saved_model": "第 {step} 步之后的模型已保存到 {directory}",
    "training.unlocked": "无法锁定 {directory}：这次训练进行期间，不要在其中启动第二次训练",
    # verify
    "verify.headline": "{verdict}：{layers} 层中最大的误差是 {error}。",
    "verify.what": "一行 a 对其参考 b 的误差是 max |a − b| / max(1, max |b|)。对 float32，小于 "
    "5e-5 正常，从 1e-4 起可疑，两者之间偏高。",
    "verify.float64": "与 float64 比较：第 1、2 步由一次完整的计算得到，第 3 至 6 步各由前一步得到",
    "verify.reference": "与 {source} 比较",
    "verify.ending": "各数组的误差如表所示，但最后一层的输出或 logit 是 NaN 或无穷大",
    "verify.column_error": "最大误差",
    "verify.column_layer": "所在层",
    "verify.column_verdict": "结论",
    "verdict.normal": "正常",
    "verdict.high": "偏高",
    "verdict.suspect": "可疑",
    # models
    "models.package": "在软件包中",
    "models.inside": "在这个文件夹中",
    "models.text": "它的文本部分",
    "models.hub": "在 Hugging Face 缓存中",
    "models.ollama": "在 Ollama 的存储中",
    "models.broken": "✗ {name}{family} 打不开：{reason}",
    "models.looked": "查找过：{folders}",
    "models.packaged": "来自软件包",
    "models.random": "未训练，任意形状",
    "models.folder": "PATH：.gguf 文件，或含有 config.json 及其权重的文件夹",
    "models.parts": "各部分的参数和字节数",
    "models.tensors": "张量",
    "models.any": "任意",
    "models.family": "家族",
    "models.parameters": "参数",
    "models.size": "大小",
    "models.quantisation": "量化",
    "models.part": "部分",
    "models.total": "合计",
    "models.dtype": "类型",
    "models.shape": "形状",
    "models.mixed": "第 {which} 层有注意力，其余各层是{others}。",
    "models.tokens": "分词器认识 {size} 个词元。",
    "models.embedded": "已训练，随 attn 附带",
    "models.by_hand": "手工选定，随 attn 附带",
}
