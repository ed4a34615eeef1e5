"""One file per model family: its config keys, its tensor names, and the order of its operations."""

# `model_type` of config.json and `general.architecture` of GGUF, and the module that knows it.
FAMILIES = {
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "mistral",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "deepseek_v2": "deepseek_v2",
    "deepseek_v3": "deepseek_v3",
    "minicpm3": "minicpm3",
    "gpt_neox": "gpt_neox",
    "gptneox": "gpt_neox",
    "bloom": "bloom",
    "opt": "opt",
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "distilbert": "distilbert",
    "electra": "electra",
    "albert": "albert",
    "deberta-v2": "deberta",
    "modernbert": "modernbert",
    "t5": "t5",
    "t5encoder": "t5",
    "mt5": "mt5",
    "umt5": "umt5",
    "bart": "bart",
}  # fmt: skip
# The family whose layout an untrained model takes.
UNTRAINED = "gpt2"
