"""The sample corpus: a small English text about simple facts, made from tables in this package."""
