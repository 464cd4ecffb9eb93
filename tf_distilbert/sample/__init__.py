"""The sample corpus: a small English text about simple facts, made from tables in this package.

Only text is here; the sample teacher lies in ``saved_models/``. It imports nothing but `errors`.
"""
