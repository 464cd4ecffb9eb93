"""Distil a BERT teacher into a DistilBERT student with Keras 3 and TensorFlow.

The public names are resolved when first used: importing the package costs no TensorFlow import.
"""

import importlib

from tf_distilbert.errors import UserError
from tf_distilbert.version import __version__

_HOME = {
    "AdamW": "optimization",
    "Architecture": "architecture",
    "DistillConfig": "config",
    "Distiller": "distiller",
    "EncoderModel": "encoder_model",
    "FinetuneConfig": "finetuning.finetune_config",
    "MaskedLanguageModel": "masked_language_model",
    "MaskedLMPretrainer": "pretrainer",
    "PretrainConfig": "config",
    "Predictor": "prediction",
    "QuestionAnswerer": "task_models",
    "Records": "data.records",
    "SequenceClassifier": "task_models",
    "TaskTrainer": "finetuning.task_trainer",
    "TokenClassifier": "task_models",
    "TokenMasker": "data.masking",
    "WarmupThenDecay": "optimization",
    "WordPieceTokenizer": "tokenization.word_piece",
    "build_student": "student",
    "distill": "train",
    "distributed_dataset": "data.pipeline",
    "evaluate": "evaluation",
    "evaluate_task": "finetuning.task_evaluation",
    "evaluation_dataset": "data.pipeline",
    "export": "exports.exporter",
    "fill_mask": "mask_filling",
    "finetune": "finetuning.finetune",
    "load_config": "config_file",
    "load_encoder": "model_folder",
    "load_model": "model_folder",
    "load_task_model": "model_folder",
    "load_tokenizer": "model_folder",
    "make_strategy": "strategy",
    "masked_lm_dataset": "data.pipeline",
    "prepare": "data.prepare",
    "prepare_with_beam": "data.beam",
    "pretrain": "train",
    "retention": "finetuning.retention",
    "save_model": "model_folder",
}

__all__ = ["UserError", "__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tf_distilbert' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tf_distilbert.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
