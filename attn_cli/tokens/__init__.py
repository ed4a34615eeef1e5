"""Tokenizers: readers of tokenizer files, and the tokens they make."""
