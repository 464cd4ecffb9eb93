"""What a masked language model knows: its metrics on held-out text, its words for blanks.

Tasks are measured in `finetuning`. It imports `distillation`, `data`, `serving` and what lies
below.
"""
