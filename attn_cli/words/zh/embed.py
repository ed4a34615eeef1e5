"""Chinese: the pages of `attn embed`."""

SENTENCES = {
    # nearest tokens, analogies
    "embed.nearest": "与 `{sum}` 最近的是 `{first}`，余弦 {cosine}。",
    "embed.answer": "{sum} 与 `{first}` 最近，余弦 {cosine}。",
    "embed.alone": "除 {sum} 之外没有别的词元。",
    "embed.what": "嵌入为每个词元存一个向量，{placed}。cos(a, b) = a·b / (|a| |b|)："
    "两个向量同向时为 1，没有共同方向时为 0，与长度无关。",
    "embed.placed": "训练把它们安排得使方向带有含义",
    "embed.not_placed": "没有经过训练的安排，所以方向不一定有含义",
    "embed.sum_is": "向量按原样逐数相加、相减；和的长度是 {length}。",
    "embed.table": "{count} 个词元中最近的   余弦 = 点积 / ({length} × 长度)",
    "embed.alike": "如此接近 1 的余弦说明不了含义：训练没有把这些词元区分开，"
    "很可能因为训练文本中从未出现它们。",
    "embed.rank": "排名",
    "embed.id": "id",
    "embed.cosine": "余弦",
    "embed.dot": "点积",
    "embed.sign": "符号",
    "embed.word": "词",
    "embed.terms": "查到的词元",
    "embed.left_out_itself": "略去的是这个词本身：{terms}。",
    "embed.left_out": "以下略去，因为和总是靠近它自己的各项：{terms}。",
    "embed.left_out_one": "`{token}`（排名 {rank}，余弦 {cosine}）",
    "embed.analogy": "如果两对词以同样的方式不同，{plus} − {minus} 与 {answer} − {other} 就同向："
    "这两个差的余弦是 {cosine}。",
    "embed.spaces": "`␣` 是属于词元的空格。查词时先带上它，因为词在文本中就是这样的。",
    "embed.bare": '不带空格，{tokens} 会是另一个词元：放在双引号中的词按原样查找，"{word}"。',
    "embed.and": "{first}、{rest}",
    "embed.quoted": "`{token}`",
    "embed.plus": "{first} + {rest}",
    "embed.minus": "{first} − {rest}",
    "embed.negative": "−{rest}",
    # one word in two texts
    "embed.two": "{words} 在两个文本中：两个向量的余弦在第一层之前是 {first}，经过{layers}之后是 "
    "{last}。",
    "embed.both": "`{first}` 和 `{rest}`",
    "embed.side": "{letter}   {text}   （`{token}` 在位置 {position}）",
    "embed.layers": "各层之后的两个向量，以及它们被拉向的词元",
    "embed.layers_alone": "各层之后的两个向量",
    "embed.after": "层后",
    "embed.layers_one": "1 层",
    "embed.layers_two": "两层",
    "embed.layers_many": "全部 {count} 层",
    "embed.length": "{letter} 的长度",
    "embed.toward": "{letter} 被拉向",
    "embed.starts": "0 是进入第一层的向量：{same}。每一层加上它从文本的其他词取来的内容。",
    "embed.same_token": "两个文本中同一个词元的向量{positions}",
    "embed.other_token": "两个词元的向量{positions}",
    "embed.positions": "，连同它的位置向量",
    "embed.positions_two": "，各连同自己的位置向量",
    "embed.pull_output": "A 的牵引是 A 的向量减去 B 的向量，两者都经过最后的归一化；B "
    "的牵引与它相反。列出的是输出矩阵中与牵引余弦最大的各行的词元。",
    "embed.pull_embedding": "A 的牵引是 A 的向量减去 B 的向量；B 的牵引与它相反。"
    "列出的是嵌入中与牵引余弦最大的各行的词元。",
    "embed.no_pull": "嵌入的行与各层的向量宽度不同，所以列不出向量被拉向的词元。",
    "embed.last": "经过{layers}之后，及其余弦",
    "embed.same": "两个向量始终相同：它看得到的词没有一个不同。",
    # notes
    "embed.pieces": "{word} 对 {model} 是 {count} 个词元（{pieces}）；以最后一个代表它",
    "embed.signs": "{word} 作为一个词查找；求和时每个符号两边要有空格：{sum}",
}
