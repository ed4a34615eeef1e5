"""Chinese: help of each command's own options, as in `help`."""

OF_COMMANDS = (
    # trace
    (
        "The six steps of self-attention for a prompt, each matrix as a table.",
        "一个提示的自注意力的六个步骤，每个矩阵是一张表。",
    ),
    (
        "Then the next-token prediction. Layer 0, head 0 unless you choose others.",
        "然后预测下一个词元。不另选时是第 0 层、头 0。",
    ),
    (
        "Also what is learned (W_Q, W_K, W_V, W_O, biases, norms), the embedding's parts, and "
        "key_x of cross-attention.",
        "还显示学到的数（W_Q、W_K、W_V、W_O、偏置、归一化）、嵌入的各部分，以及交叉注意力的 "
        "key_x。",
    ),
    (
        "Also mlp_output: what the layer's feed-forward network gives.",
        "还显示 mlp_output：该层前馈网络的输出。",
    ),
    ("Leave out the prediction.", "不要预测。"),
    # heads
    (
        "Multi-head mode: the weights of every head, a summary of each, and the sum of their "
        "pulls.",
        "多头模式：每个头的权重、每个头的概要，以及各头牵引之和。",
    ),
    (
        "Several layers, or --sort, give one ranking of all their heads.",
        "选若干层或用 --sort 时，给出所有头的一个排名。",
    ),
    (
        "One ranking of the heads, as of several layers: entropy, distance, first, weighted, "
        "value, rest, previous, self, duplicate, induction, sink, norm, cosine.",
        "像若干层那样给出头的一个排名，按：entropy、distance、first、weighted、value、rest、"
        "previous、self、duplicate、induction、sink、norm、cosine。",
    ),
    (
        "Split off what the first token gets, and divide the other weights by their sum.",
        "把第一个词元得到的份额分离出来，其余权重除以它们的和。",
    ),
    (
        "Read a block of random tokens twice: names for heads, what they are measured against, and "
        "the loss without them. Takes no TEXT.",
        "把一段随机词元读两遍：头的名称、与什么比较，以及去掉它们之后的损失。不需要 TEXT。",
    ),
    ("With --prove, draws another block.", "与 --prove 一起使用：抽取另一段。"),
    (
        "One head's two matrices, W_QK and W_OV: rank, which tokens attract which, what is copied.",
        "一个头的两个矩阵 W_QK 和 W_OV：秩、哪些词元吸引哪些、复制什么。",
    ),
    # mask
    (
        "The mask as a picture, the cells it hides, and how weights, output and prediction move.",
        "掩码的图、它遮住的格子，以及权重、输出和预测怎样移动。",
    ),
    (
        "Compares --mask with the model's own mask; the model's own, or none given, with no mask "
        "at all; --mask-value with −∞.",
        "把 --mask 与模型自己的掩码比较；若就是模型自己的或没有给出，则与无掩码比较；--mask-value "
        "与 −∞ 比较。",
    ),
    # sample
    (
        "Next-token probabilities before and after temperature and each filter; then draws.",
        "温度和每个过滤器之前与之后的下一词元概率；然后抽取。",
    ),
    (
        "Filters act in this order: temperature, top-k, top-p, min-p.",
        "过滤器按此顺序起作用：temperature、top-k、top-p、min-p。",
    ),
    ("0 takes the likeliest; above 1 evens out.", "0 取最可能的；大于 1 使概率更平均。"),
    ("Keep the K likeliest; 0 = all.", "保留最可能的 K 个；0 = 全部。"),
    ("Keep the fewest that reach P together; 1 = all.", "保留合计达到 P 的最少几个；1 = 全部。"),
    (
        "Drop those below P times the likeliest; 0 = none.",
        "去掉概率低于最可能者 P 倍的；0 = 都不去掉。",
    ),
    ("Repeat a draw.", "重复一次抽取。"),
    ("Draw the next token N times and count.", "把下一个词元抽取 N 次并计数。"),
    ("Several temperatures side by side.", "几个温度并排显示。"),
    # loss
    (
        "Every position predicts its next token at once: probability, loss and best guess of each.",
        "每个位置同时预测自己的下一个词元：各自的概率、损失和最佳猜测。",
    ),
    # embed
    (
        "Word vectors: the tokens nearest to a word, or to a sum such as father - man + woman.",
        "词向量：与一个词，或与 father - man + woman 这样的和最近的词元。",
    ),
    (
        'Words have + or - between them, with spaces around each sign; "-" in double quotes is a '
        "word too. With --in, one word is followed through the layers in two texts.",
        '词之间用 + 或 -，符号两边有空格；双引号中的 "-" 也是一个词。用 --in 时，'
        "在两个文本中逐层跟踪一个词。",
    ),
    (
        "A text in which --token is followed, layer by layer. Two of them, instead of words.",
        "在其中逐层跟踪 --token 的文本。给出两个，代替词。",
    ),
    (
        "The token to follow: its text or position. Once for both texts, or once for each.",
        "要跟踪的词元：文本或位置。两个文本共用一个，或各给一个。",
    ),
    # lens
    (
        "What each layer would predict, and what attention and feed-forward add to one word's "
        "logit.",
        "每一层会预测什么，以及注意力和前馈网络给一个词的 logit 加上多少。",
    ),
    (
        "The vector after each layer goes through the last norm and the output matrix (logit "
        "lens).",
        "各层之后的向量经过最后的归一化和输出矩阵（logit lens）。",
    ),
    (
        "Positions, ranges or tokens' texts, or all. Repeatable.",
        "位置、范围或词元的文本，或 all。可重复。",
    ),
    (
        "A token to follow from layer to layer: its text, or its id.",
        "要逐层跟踪的词元：文本或 id。",
    ),
    (
        "Also what each head adds to the watched token's logit.",
        "还显示每个头给所跟踪词元的 logit 加上多少。",
    ),
    # compare
    (
        "How much every step differs between two prompts, two models, or with and without a "
        "what-if.",
        "每一步在两个提示、两个模型之间，或有无某个假设时，相差多少。",
    ),
    (
        "Left: TEXT, the first --model, its own settings. Right: OTHER, the second --model, the "
        "--adapter, every what-if option. What is not given is the same on both sides; --adapter "
        "twice is one for each. TEXT and OTHER may be the files of two results of attn scan.",
        "左边：TEXT、第一个 --model 和它自己的设置。右边：OTHER、第二个 --model、--adapter "
        "和所有假设选项。没有给出的，两边相同；给两个 --adapter 则各用一个。"
        "TEXT 和 OTHER 可以是 attn scan 的两个结果文件。",
    ),
    (
        "Token ids instead of a text; a second time for the right side.",
        "用词元 id 代替文本；第二次给出的用于右边。",
    ),
    (
        "What the right side reads, the same prompt if left out; - reads standard input.",
        "右边读取的内容，不给则是同一个提示；- 表示读取标准输入。",
    ),
    # why
    (
        "The arithmetic of one cell: every product, sum and power, to be redone with a calculator.",
        "一个格子的算术：每个乘积、和与幂，都可用计算器重新算出。",
    ),
    (
        "Then what this key's value adds to the query's output and to the logit of the predicted "
        "token. Without --query and --key: the strongest cell of the last token's row. --by "
        "component says who wrote what the head matched.",
        "然后是这个键的值给查询的输出和预测词元的 logit 加上多少。不给 --query 和 --key 时："
        "最后一个词元那一行中最强的格子。--by component 说明头所匹配的内容由谁写入。",
    ),
    ("The row: a position or a token's text.", "行：位置或词元的文本。"),
    ("The column: a position or a token's text.", "列：位置或词元的文本。"),
    (
        "Whose cell: weights, or with --column q, k, v, z or output. With --by also logit, that of "
        "the predicted token.",
        "哪个数组的格子：weights，或与 --column 一起使用的 q、k、v、z 或 output。与 --by "
        "一起使用时还有 logit，即预测词元的 logit。",
    ),
    ("The column of q, k, v, z or output.", "q、k、v、z 或 output 的列。"),
    (
        "Split the score by what wrote the parts of the query and of the key.",
        "按查询和键的各部分由谁写入，把分数拆开。",
    ),
    (
        "With --by: also why the head that wrote most looked where it did.",
        "与 --by 一起使用：还说明写入最多的头为什么看向那里。",
    ),
    (
        "With --by: split the logit of this token instead of a score.",
        "与 --by 一起使用：拆开这个词元的 logit，而不是分数。",
    ),
    # train
    (
        "Trains a small model with AdamW; saves an ordinary checkpoint.",
        "用 AdamW 训练一个小模型；保存为普通的检查点。",
    ),
    (
        "The objective next: a decoder predicts the next token, at every position at once (GPT-2's "
        "layout). masked: an encoder, which looks both ways, fills in hidden tokens (BERT's "
        "layout). translate: an encoder reads a text, a decoder writes its translation (T5's "
        "layout); a line of CORPUS holds both texts, a tab between them. Shows the loss beside the "
        "smallest that the corpus allows, a head forming, a word's vector moving. Ctrl-C saves the "
        "run; --resume goes on as if nothing had happened.",
        "目标 next：解码器在每个位置同时预测下一个词元（GPT-2 的结构）。masked：编码器看得到两边，"
        "填入隐藏的词元（BERT 的结构）。translate：编码器读取文本，解码器写出译文（T5 的结构）；"
        "CORPUS 的一行含有两个文本，中间是制表符。显示损失和语料所允许的最小损失、一个头怎样形成、"
        "一个词的向量怎样移动。Ctrl-C 保存训练；--resume 接着训练，就像什么都没发生过。",
    ),
    ("A text file, one sentence to a line.", "文本文件，每行一个句子。"),
    ("The folder of the checkpoint.", "检查点的文件夹。"),
    (
        "What is learned: the next token (a decoder), masked ones (an encoder), or to translate "
        "(both).",
        "学什么：下一个词元（解码器）、被掩盖的词元（编码器），或翻译（两者）。",
    ),
    ("Model width, divided among the heads.", "模型宽度，分给各头。"),
    ("The highest of the run.", "整个训练中的最高值。"),
    (
        "none trains next without the mask, to see why there is one.",
        "none：训练 next 时不用掩码，看看为什么需要它。",
    ),
    ("The share of tokens that masked hides.", "masked 隐藏的词元的份额。"),
    ("The word whose vector is shown moving; '' for none.", "显示其向量移动的词；'' 表示不要。"),
    ("One of its tokens is watched; '' for none.", "观察其中的一个词元；'' 表示不要。"),
    ("The token of it that is watched.", "其中被观察的词元。"),
    ("The token it may come to look at.", "它可能会看向的词元。"),
    ("Go on with the unfinished run in DIR.", "接着进行 DIR 中未完成的训练。"),
    ("No progress on stderr.", "不在 stderr 上显示进度。"),
    # verify
    (
        "Recomputes a trace in float64 and compares; then with stored or given activations.",
        "用 float64 重新计算并比较；然后与保存的或给出的激活值比较。",
    ),
    ("Exits with 1 where an error is suspect.", "误差可疑时以 1 退出。"),
    (
        "Activations made elsewhere, named as --format npz does.",
        "别处得到的激活值，按 --format npz 的方式命名。",
    ),
    # tokens
    (
        "How a text became tokens: ids, bytes, merges, and what the tokenizer adds.",
        "文本怎样变成词元：id、字节、合并，以及分词器添加了什么。",
    ),
    (
        "No weights are read. With two models, where their tokenizers cut the text alike.",
        "不读取权重。给两个模型时，显示它们的分词器在哪里切法相同。",
    ),
    (
        "List how each word was cut: merges in order, word pieces, scores.",
        "列出每个词怎样切分：按顺序的合并、词片、得分。",
    ),
    # exercise
    (
        "Some numbers of the six steps are left blank; each follows from numbers that are shown.",
        "六个步骤中的一些数留空；每一个都可以由所示的数算出。",
    ),
    (
        "Of --check's answers it says which are right, and which known mistake gives a wrong one. "
        "Without prompt and model: a model of three words, on which every step can be done on "
        "paper.",
        "对 --check 的答案，说明哪些是对的，错的是由哪一种已知的错误得来。不给提示和模型时："
        "用一个只有三个词的模型，每一步都能在纸上完成。",
    ),
    ("How many numbers are left blank.", "留空多少个数。"),
    ("Decimals of the sheet.", "题纸上的小数位数。"),
    ("The same seed gives the same sheet.", "同一个种子得到同一张题纸。"),
    ("With the answers.", "附上答案。"),
    (
        'Answers to check: {"1": 0.5, …} or CSV to the sheet of these options, or a saved sheet '
        "with its answers filled in, which needs no others. Exits with 1 unless all are right.",
        '要批改的答案：针对这些选项的题纸的 {"1": 0.5, …} 或 CSV，'
        "或填好答案的已保存题纸（此时不需要其他选项）。除非全对，否则以 1 退出。",
    ),
    # cost
    (
        "What a context length costs: parameters, cells of the mask, memory, operations.",
        "上下文长度的代价：参数、掩码的格子、内存、运算量。",
    ),
    (
        "It follows from a model's shapes: nothing is computed, and no weight is read.",
        "由模型的形状得出：不做计算，也不读取权重。",
    ),
    (
        "A published model by its shapes instead: gpt2, gpt3, llama3-8b, …",
        "改用一个已发布模型的形状：gpt2、gpt3、llama3-8b……",
    ),
    ("Numbers of tokens.", "词元数。"),
    # models
    (
        "What can be opened on this machine, or in a folder; what is inside the checkpoint MODEL.",
        "这台机器上或某个文件夹中能打开什么；检查点 MODEL 里有什么。",
    ),
    ("A name or a path.", "名称或路径。"),
    # show
    (
        "Draws saved documents again, in any view; one of attn trace in any of its formats.",
        "重新画出保存的文档，视图任选；attn trace 的文档可用它的任何格式。",
    ),
    (
        "A document is checked against its schema first. What the page of its command would take "
        "from the model, and the document does not hold, is left out, and the page says so.",
        "先按 schema 检查文档。命令的页面本该取自模型而文档没有保存的内容会略去，"
        "页面会说明这一点。",
    ),
    (
        "What --json or --format ndjson has written, or attn scan; without it, or for -, standard "
        "input.",
        "--json、--format ndjson 或 attn scan 写出的内容；不给或给 - 时是标准输入。",
    ),
    ("as it was scanned", "与扫描时相同"),
    (
        "Of a scan: what ranks heads, entropy, effective, distance, first, weighted, previous, "
        "self, duplicate, induction, weighted-previous, weighted-self, weighted-duplicate, "
        "weighted-induction, sink.",
        "扫描结果：按什么给头排名，entropy、effective、distance、first、weighted、previous、self、"
        "duplicate、induction、weighted-previous、weighted-self、weighted-duplicate、"
        "weighted-induction、sink。",
    ),
    ("Of a scan: one head, with its examples.", "扫描结果：一个头及其例子。"),
    ("the one that was scanned, if it has a name", "被扫描的那个，如果它有名称"),
    ("With --head, the model that draws its examples.", "与 --head 同用：画出其例子的模型。"),
    # scan
    (
        "Statistics of every head over files of prompts: where it looks, how sharply, with "
        "examples.",
        "每个头在提示文件上的统计：看哪里、有多集中，并附例子。",
    ),
    (
        "Finished parts are kept beside --out until it is written: a scan that was ended goes on.",
        "完成的部分保存在 --out 旁边，直到结果写完：中断的扫描可以继续。",
    ),
    (
        "Text, one prompt per line, or JSON lines with a text key, also as .gz or .zst; a folder "
        "or a pattern of them.",
        "文本，每行一个提示，或带 text 键的 JSON 行，也可以是 .gz 或 .zst；或文件夹、通配模式。",
    ),
    (
        "Read each file, or the text of each JSON line, as a document, cut to N tokens.",
        "把每个文件或每个 JSON 行的文本当作一篇文档，切成 N 个词元一段。",
    ),
    ("Also the pairs of tokens that each head joins most.", "还给出每个头最常连接的词元对。"),
    (
        "What the page ranks heads by: entropy, effective, distance, first, weighted, previous, "
        "self, duplicate, induction, weighted-previous, weighted-self, weighted-duplicate, "
        "weighted-induction, sink.",
        "页面按什么给头排名：entropy、effective、distance、first、weighted、previous、self、"
        "duplicate、induction、weighted-previous、weighted-self、weighted-duplicate、"
        "weighted-induction、sink。",
    ),
    ("Processes that share the work, and the threads.", "分担工作和线程的进程数。"),
    (
        "Measure on the workers of a Dask cluster: tcp://HOST:PORT, or the file that its scheduler "
        "has written.",
        "在 Dask 集群的工作进程上测量：tcp://HOST:PORT，或其调度器写出的文件。",
    ),
    ("Stop at the first line that cannot be read.", "遇到第一个无法读取的行就停止。"),
    (
        "Forget the parts that an earlier run has left beside --out.",
        "丢弃先前运行留在 --out 旁边的部分。",
    ),
    # schema
    (
        "The JSON Schema (draft 2020-12) that a command's JSON document follows.",
        "某个命令的 JSON 文档所遵循的 JSON Schema（draft 2020-12）。",
    ),
    (
        "One of trace, heads, mask, sample, loss, embed, lens, compare, why, train, verify, "
        "tokens, exercise, cost, models, scan.",
        "trace、heads、mask、sample、loss、embed、lens、compare、why、train、verify、tokens、"
        "exercise、cost、models 之一。",
    ),
    (
        "Of a line of --format ndjson, not of a document.",
        "针对 --format ndjson 的一行，而不是整个文档。",
    ),
)
