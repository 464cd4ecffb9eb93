"""The version, in a file of its own so that setup.py reads it without importing TensorFlow."""

__version__ = "0.1.0"
