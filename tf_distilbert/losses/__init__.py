"""The terms of the objectives, as pure functions: by token, and over a whole vocabulary in chunks.

Nothing here knows of models, batches or runs: tensors in, tensors out, in float32. It imports
`backend` alone.
"""
