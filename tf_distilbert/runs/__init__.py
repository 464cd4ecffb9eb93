"""A run from start to end: `train` is the story, `loop` its steps, `directory` what it leaves.

What is learnt is decided in `distillation` and `finetuning`, how one update is made in `training`.
It imports `distillation`, `data`, `training`, `model_files` and `config`.
"""
