"""From text to masked batches: read, tokenise, pack, store, shuffle, mask.

What a batch is learnt from belongs to `runs`, how text becomes ids to `tokenization`. It imports
`tokenization`, `training` (which devices share a batch), `sample` and the ground.
"""
