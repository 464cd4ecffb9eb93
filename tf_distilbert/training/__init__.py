"""One update: a mean over the global batch, on any number of devices, in any precision.

`trainer` is what all objectives share, `optimizer` makes the update, `strategy` says which devices
share it, `runtime` prepares the process. What is learnt lies above, in `distillation` and
`finetuning`. It imports `models` (dropout), `losses` and `backend`.
"""
