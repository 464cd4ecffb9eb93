"""Downstream tasks: their files, rows, training, predictions and metrics; many of them: retention.

How a run goes is in `runs`, how a trained model answers a request in `serving`. It imports
`exports`, `runs`, `data`, `serving`, `training` and what lies below.
"""
