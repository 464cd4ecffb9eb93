"""A report on runs: one HTML file of settings, curves, comparisons and examples.

It reads what runs have written and measures their models again; it trains nothing. It may import
`finetuning`, `evaluation`, `runs` and what lies below; only `cli` imports it.
"""
