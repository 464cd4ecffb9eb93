"""Texts in, answers out: the same computation inside an exported graph and outside of one.

How a graph is written to a file is in `exports`. It imports `models`, `tokenization`, `backend` and
`errors`.
"""
