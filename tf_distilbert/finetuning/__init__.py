"""Downstream tasks: their data, metrics and predictions."""
