"""Models on disk, in and out: Hugging Face folders, Google's checkpoints, keras-nlp's presets.

Formats that are only written, for other runtimes, are in `exports`. It imports `models`,
`tokenization` and the ground.
"""
