"""Trained models in the formats of other runtimes, each run and compared before it is kept.

What an export answers is computed by `serving`; here is how it is written, opened again and
described. `prediction` asks a model folder or any export. It imports `serving`, `model_files`,
`data` (text to calibrate on) and what lies below; packages of a format only when it is written.
"""
