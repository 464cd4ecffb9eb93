"""A report on runs: one HTML file of settings, curves, comparisons and examples."""
