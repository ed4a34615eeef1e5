"""Chinese: help, by its English words, which stand in the code beside what they are of."""

HELP = {}
