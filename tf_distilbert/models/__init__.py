"""The networks: one encoder for BERT, RoBERTa and DistilBERT, and the heads on top of it.

Their files are in `model_files`, their losses in `losses`, their training in `training`. It imports
`tokenization` (a model carries its tokenizer), `losses` (what makes logits), `backend` and
`errors`.
"""
