"""The objectives: what a distiller compares, what a pretrainer predicts, how a student begins.

Each objective is a `keras.Model` over `training.trainer`, with its terms from `losses`. Loops,
folders and settings of a run are in `runs`. It imports `training`, `model_files`, `models` and
`losses`.
"""
