"""Text to token ids and back: one base class, one file for each kind of tokenizer.

What ids become, rows and windows, is in `data` and `serving`. It imports nothing but `errors` and
`json_file`.
"""
