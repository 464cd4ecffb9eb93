"""Distil a BERT teacher into a DistilBERT student with Keras 3 and TensorFlow.

The public names are resolved when first used: importing the package costs no TensorFlow import.
Type checkers and documentation, which run nothing, read them from the imports below.
"""

import importlib
from typing import TYPE_CHECKING

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
    "write_report": "report.reporter",
}

__all__ = ["UserError", "__version__", *_HOME]


if TYPE_CHECKING:
    from tf_distilbert.architecture import Architecture as Architecture
    from tf_distilbert.config import DistillConfig as DistillConfig
    from tf_distilbert.config import PretrainConfig as PretrainConfig
    from tf_distilbert.config_file import load_config as load_config
    from tf_distilbert.data.beam import prepare_with_beam as prepare_with_beam
    from tf_distilbert.data.masking import TokenMasker as TokenMasker
    from tf_distilbert.data.pipeline import distributed_dataset as distributed_dataset
    from tf_distilbert.data.pipeline import evaluation_dataset as evaluation_dataset
    from tf_distilbert.data.pipeline import masked_lm_dataset as masked_lm_dataset
    from tf_distilbert.data.prepare import prepare as prepare
    from tf_distilbert.data.records import Records as Records
    from tf_distilbert.distiller import Distiller as Distiller
    from tf_distilbert.encoder_model import EncoderModel as EncoderModel
    from tf_distilbert.evaluation import evaluate as evaluate
    from tf_distilbert.exports.exporter import export as export
    from tf_distilbert.finetuning.finetune import finetune as finetune
    from tf_distilbert.finetuning.finetune_config import FinetuneConfig as FinetuneConfig
    from tf_distilbert.finetuning.retention import retention as retention
    from tf_distilbert.finetuning.task_evaluation import evaluate_task as evaluate_task
    from tf_distilbert.finetuning.task_trainer import TaskTrainer as TaskTrainer
    from tf_distilbert.mask_filling import fill_mask as fill_mask
    from tf_distilbert.masked_language_model import MaskedLanguageModel as MaskedLanguageModel
    from tf_distilbert.model_folder import load_encoder as load_encoder
    from tf_distilbert.model_folder import load_model as load_model
    from tf_distilbert.model_folder import load_task_model as load_task_model
    from tf_distilbert.model_folder import load_tokenizer as load_tokenizer
    from tf_distilbert.model_folder import save_model as save_model
    from tf_distilbert.optimization import AdamW as AdamW
    from tf_distilbert.optimization import WarmupThenDecay as WarmupThenDecay
    from tf_distilbert.prediction import Predictor as Predictor
    from tf_distilbert.pretrainer import MaskedLMPretrainer as MaskedLMPretrainer
    from tf_distilbert.report.reporter import write_report as write_report
    from tf_distilbert.strategy import make_strategy as make_strategy
    from tf_distilbert.student import build_student as build_student
    from tf_distilbert.task_models import QuestionAnswerer as QuestionAnswerer
    from tf_distilbert.task_models import SequenceClassifier as SequenceClassifier
    from tf_distilbert.task_models import TokenClassifier as TokenClassifier
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer as WordPieceTokenizer
    from tf_distilbert.train import distill as distill
    from tf_distilbert.train import pretrain as pretrain
else:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'tf_distilbert' has no attribute {name!r}")
        return getattr(importlib.import_module(f"tf_distilbert.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
