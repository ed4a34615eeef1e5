"""Chinese: help, by its English words, which stand in the code beside what they are of."""

from attn_cli.words.zh.help_commands import OF_COMMANDS

_SHARED = (
    # what typer says itself
    ("Usage: ", "用法："),
    ("Arguments:", "参数："),
    ("Options:", "选项："),
    ("Commands:", "命令："),
    ("Examples:", "示例："),
    ("env var: ", "环境变量："),
    ("default: ", "默认："),
    ("required", "必需"),
    ("Install completion for the current shell.", "为当前 shell 安装自动补全。"),
    (
        "Show completion for the current shell, to copy it or customize the installation.",
        "显示当前 shell 的自动补全脚本，以便复制或自行安装。",
    ),
    ("Show this message and exit.", "显示本说明并退出。"),
    # attn
    ("Shows what attention computes, number by number.", "逐个数地显示注意力算了什么。"),
    (
        'Start with: attn trace "the greatest thinker in China is"',
        '从这里开始：attn trace "the greatest thinker in China is"',
    ),
    ("Print the version.", "打印版本。"),
    (
        "Words in English or Chinese; names of arrays and documents stay as they are.",
        "英文或中文；数组名和文档保持不变。",
    ),
    (
        "The six steps of attention, then the next-token prediction.",
        "注意力的六个步骤，然后预测下一个词元。",
    ),
    (
        "Every head of a layer side by side, and what each one adds.",
        "一层的所有头并排显示，以及每个头的贡献。",
    ),
    ("What a mask hides, and how far the prediction moves.", "掩码遮住了什么，预测移动了多少。"),
    (
        "Next-token probabilities under temperature; draws tokens.",
        "在温度下的下一词元概率；抽取词元。",
    ),
    (
        "Every position predicts its next token: what training sees.",
        "每个位置预测自己的下一个词元：训练所看到的。",
    ),
    (
        "Word vectors: nearest tokens, analogies, one word in two texts.",
        "词向量：最近的词元、类比、两个文本中的一个词。",
    ),
    (
        "What each layer would predict; what each part adds to a logit.",
        "每一层会预测什么；每个部分给 logit 加上多少。",
    ),
    (
        "Two prompts, two models or a what-if, step by step.",
        "两个提示、两个模型或一个假设，逐步比较。",
    ),
    (
        "The arithmetic of one cell; who wrote what a head matched.",
        "一个格子的算术；头所匹配的内容由谁写入。",
    ),
    (
        "Train a small model on a text file, watching attention form.",
        "在文本文件上训练小模型，观察注意力怎样形成。",
    ),
    (
        "How exact a trace is: against float64 and against other tools.",
        "跟踪有多精确：与 float64 和其他工具比较。",
    ),
    (
        "How a text became tokens; two tokenizers side by side.",
        "文本怎样变成词元；两个分词器并排比较。",
    ),
    (
        "A sheet with numbers left blank; what is wrong with an answer.",
        "留有空格的题纸；答案错在哪里。",
    ),
    (
        "What a context length costs: parameters, memory, operations.",
        "上下文长度的代价：参数、内存、运算量。",
    ),
    (
        "What can be opened here; what is inside one checkpoint.",
        "这里能打开什么；一个检查点里有什么。",
    ),
    ("A saved document as a page again, in any view.", "把保存的文档重新显示为页面，视图任选。"),
    (
        "Every head over files of prompts: statistics and examples.",
        "每个头在提示文件上：统计和例子。",
    ),
    ("The JSON Schema of a command's document.", "某个命令的文档的 JSON Schema。"),
    # shared options
    ("The prompt; - reads standard input.", "提示；- 表示读取标准输入。"),
    ("Read the prompt from a file; - is standard input.", "从文件读取提示；- 是标准输入。"),
    (
        "One prompt per line of the input, or JSON lines with a text key. A line that fails is "
        "named on stderr, the others go on.",
        "输入的每一行是一个提示，或是带 text 键的 JSON 行。出错的行在 stderr 上指出，其余继续。",
    ),
    (
        "With --each, stop at the first line that fails.",
        "与 --each 一起使用：遇到第一个出错的行就停止。",
    ),
    ("Token ids instead of a text.", "用词元 id 代替文本。"),
    ("The second segment, for an encoder.", "编码器的第二段文本。"),
    (
        "What the decoder of an encoder–decoder reads, after its start token.",
        "编码器–解码器的解码器在起始词元之后读取的内容。",
    ),
    ("All that the decoder reads, as token ids.", "解码器读取的全部内容，以词元 id 给出。"),
    (
        "The text as a user's turn in the model's chat format (ChatML, Llama 3, Gemma, Mistral), "
        "known by its special tokens. Markers in the text act as markers.",
        "把文本作为用户的一轮发言，采用模型的对话格式（ChatML、Llama 3、Gemma、Mistral），"
        "由特殊词元识别。文本中的标记按标记处理。",
    ),
    ("Leave out tokens the tokenizer would add.", "不要分词器会自行添加的词元。"),
    (
        "Read more tokens than the model was trained to, where it has positions for them.",
        "读取比模型训练时更多的词元，只要模型有相应的位置。",
    ),
    (
        "tiny, tiny-encoder, tiny-translator, pencil, smollm2, minilm, "
        "random[:layers=2,heads=4,model_width=32,seed=0], a .gguf file, a folder with config.json, "
        "org/name in the Hugging Face cache, or ollama:name[:tag].",
        "tiny、tiny-encoder、tiny-translator、pencil、smollm2、minilm、"
        "random[:layers=2,heads=4,model_width=32,seed=0]、.gguf 文件、含 config.json 的文件夹、"
        "Hugging Face 缓存中的 org/name，或 ollama:name[:tag]。",
    ),
    (
        "Add the LoRA adapter in this folder, or of this ORG/NAME, to the model's weights.",
        "把这个文件夹中的或名为 ORG/NAME 的 LoRA 适配器加到模型的权重上。",
    ),
    ("Accept this refused key of the config.", "接受配置中这个被拒绝的项。"),
    ("Refuse what needs more: 2GiB, 500MB, 1.5G.", "拒绝需要更多内存的请求：2GiB、500MB、1.5G。"),
    ("No notes on stderr.", "不在 stderr 上写说明。"),
    ("Which stack of layers.", "哪一个层栈。"),
    (
        "cross: the decoder's attention to the encoder's tokens.",
        "cross：解码器对编码器词元的注意力。",
    ),
    (
        "causal, none, window:N, prefix:N or file:PATH replaces the model's mask; padding:N, "
        "padding-left:N and block:Q:K hide more; sinks:K shows a window the first keys. "
        "Repeatable. Q and K may be tokens.",
        "causal、none、window:N、prefix:N 或 file:PATH 代替模型的掩码；padding:N、padding-left:N "
        "和 block:Q:K 再遮住一些；sinks:K 使窗口看得到最前面的键。可重复。Q 和 K 可以是词元。",
    ),
    ("Put V where −∞ belongs, to see what goes wrong.", "在本该是 −∞ 的地方放 V，看会出什么问题。"),
    ("weights = softmax(masked / T).", "weights = softmax(masked / T)。"),
    (
        "Remove head H of layer L; L.0,2 and L.all too. Repeatable.",
        "去掉第 L 层的头 H；也可写 L.0,2 和 L.all。可重复。",
    ),
    ("Leave out positions, scale, mlp:L. Repeatable.", "去掉 positions、scale、mlp:L。可重复。"),
    ("Short for --format json.", "--format json 的简写。"),
    ("Write there; its suffix chooses the format.", "写到该文件；由后缀决定格式。"),
    (
        "Matrices as numbers, shaded cells or dots; or one statement per line, for a screen "
        "reader.",
        "矩阵以数、深浅格子或圆点显示；或每行一句话，供读屏软件使用。",
    ),
    ("Decimals in tables.", "表中的小数位数。"),
    ("Leave nothing out of tables.", "表中什么都不省略。"),
    ("Not through PAGER where a page is longer than the screen.", "页面比屏幕长时也不经过 PAGER。"),
    (
        "Queries as rows (papers) or as columns (the animated explanation).",
        "查询为行（论文的写法）或查询为列（动画讲解的写法）。",
    ),
    ("0, -1, 0,1, 0-1 or all.", "0、-1、0,1、0-1 或 all。"),
    ("0, -1, 0,2, 0-3 or all.", "0、-1、0,2、0-3 或 all。"),
    ("One layer.", "一层。"),
    ("One head.", "一个头。"),
    (
        "Rows: positions, ranges or tokens' texts. Repeatable.",
        "行：位置、范围或词元的文本。可重复。",
    ),
    (
        "Columns: positions, ranges or tokens' texts. Repeatable.",
        "列：位置、范围或词元的文本。可重复。",
    ),
    ("1 to 6 or a step's name. Repeatable.", "1 到 6，或步骤的英文名称。可重复。"),
    ("Candidates to show.", "显示多少个候选词元。"),
    ("Tokens to add, one after the other.", "逐个添加多少个词元。"),
    ("Write there.", "写到该文件。"),
    # defaults in words
    ("that of LANG", "由 LANG 决定"),
    ("half of what is free", "空闲内存的一半"),
    ("the only one, or decoder", "唯一的一个，或 decoder"),
    ("the last", "最后一个"),
    ("the last token", "最后一个词元"),
    ("the last, or each mask token", "最后一个，或每个掩码词元"),
    ("the key with the largest weight", "权重最大的键"),
    ("the predicted token", "预测的词元"),
    ("no logit", "无"),
    ("sample prompt", "示例提示"),
    ("doublings, up to what the model was trained on", "逐次加倍，直到模型训练时的长度"),
)
HELP = dict(_SHARED + OF_COMMANDS)
