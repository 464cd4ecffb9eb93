"""Text to token ids and back: one base class, one file for each kind of tokenizer."""
