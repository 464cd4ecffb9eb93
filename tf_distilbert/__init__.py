"""Distil a BERT teacher into a DistilBERT student with Keras 3 and TensorFlow.

The public names are resolved when first used: importing the package costs no TensorFlow import.
Type checkers and documentation, which run nothing, read them from the imports below.
"""

import importlib
from typing import TYPE_CHECKING

from tf_distilbert.errors import UserError
from tf_distilbert.version import __version__

_HOME = {
    "AdamW": "training.optimizer",
    "Architecture": "models.architecture",
    "DistillConfig": "config.jobs",
    "Distiller": "distillation.distiller",
    "EncoderModel": "models.encoder_model",
    "FinetuneConfig": "config.finetuning",
    "MaskedLanguageModel": "models.masked_language_model",
    "MaskedLMPretrainer": "distillation.pretrainer",
    "PretrainConfig": "config.jobs",
    "Predictor": "exports.prediction",
    "QuestionAnswerer": "models.task_models",
    "Records": "data.records",
    "SentenceEncoder": "models.sentence_encoder",
    "SentenceTrainer": "finetuning.sentence_trainer",
    "SequenceClassifier": "models.task_models",
    "TaskTrainer": "finetuning.trainer",
    "TokenClassifier": "models.task_models",
    "TokenMasker": "data.masking",
    "WarmupThenDecay": "training.optimizer",
    "WordPieceTokenizer": "tokenization.word_piece",
    "build_student": "distillation.student",
    "distill": "runs.train",
    "distributed_dataset": "data.pipeline",
    "embed": "serving.embedding",
    "evaluate": "evaluation.masked_lm",
    "evaluate_task": "finetuning.evaluation",
    "evaluation_dataset": "data.pipeline",
    "export": "exports.exporter",
    "fill_mask": "evaluation.fill_mask",
    "finetune": "finetuning.finetune",
    "load_config": "config.file",
    "load_encoder": "model_files.encoders",
    "load_model": "model_files.folder",
    "load_task_model": "model_files.folder",
    "load_tokenizer": "model_files.folder",
    "make_strategy": "training.strategy",
    "masked_lm_dataset": "data.pipeline",
    "prepare": "data.prepare",
    "prepare_with_beam": "data.beam",
    "pretrain": "runs.train",
    "retention": "finetuning.retention",
    "save_model": "model_files.folder",
    "trim_model": "distillation.trimming",
    "write_report": "report.reporter",
}

__all__ = ["UserError", "__version__", *_HOME]


if TYPE_CHECKING:
    from tf_distilbert.config.file import load_config as load_config
    from tf_distilbert.config.finetuning import FinetuneConfig as FinetuneConfig
    from tf_distilbert.config.jobs import DistillConfig as DistillConfig
    from tf_distilbert.config.jobs import PretrainConfig as PretrainConfig
    from tf_distilbert.data.beam import prepare_with_beam as prepare_with_beam
    from tf_distilbert.data.masking import TokenMasker as TokenMasker
    from tf_distilbert.data.pipeline import distributed_dataset as distributed_dataset
    from tf_distilbert.data.pipeline import evaluation_dataset as evaluation_dataset
    from tf_distilbert.data.pipeline import masked_lm_dataset as masked_lm_dataset
    from tf_distilbert.data.prepare import prepare as prepare
    from tf_distilbert.data.records import Records as Records
    from tf_distilbert.distillation.distiller import Distiller as Distiller
    from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer as MaskedLMPretrainer
    from tf_distilbert.distillation.student import build_student as build_student
    from tf_distilbert.distillation.trimming import trim_model as trim_model
    from tf_distilbert.evaluation.fill_mask import fill_mask as fill_mask
    from tf_distilbert.evaluation.masked_lm import evaluate as evaluate
    from tf_distilbert.exports.exporter import export as export
    from tf_distilbert.exports.prediction import Predictor as Predictor
    from tf_distilbert.finetuning.evaluation import evaluate_task as evaluate_task
    from tf_distilbert.finetuning.finetune import finetune as finetune
    from tf_distilbert.finetuning.retention import retention as retention
    from tf_distilbert.finetuning.sentence_trainer import SentenceTrainer as SentenceTrainer
    from tf_distilbert.finetuning.trainer import TaskTrainer as TaskTrainer
    from tf_distilbert.model_files.encoders import load_encoder as load_encoder
    from tf_distilbert.model_files.folder import load_model as load_model
    from tf_distilbert.model_files.folder import load_task_model as load_task_model
    from tf_distilbert.model_files.folder import load_tokenizer as load_tokenizer
    from tf_distilbert.model_files.folder import save_model as save_model
    from tf_distilbert.models.architecture import Architecture as Architecture
    from tf_distilbert.models.encoder_model import EncoderModel as EncoderModel
    from tf_distilbert.models.masked_language_model import (
        MaskedLanguageModel as MaskedLanguageModel,
    )
    from tf_distilbert.models.sentence_encoder import SentenceEncoder as SentenceEncoder
    from tf_distilbert.models.task_models import QuestionAnswerer as QuestionAnswerer
    from tf_distilbert.models.task_models import SequenceClassifier as SequenceClassifier
    from tf_distilbert.models.task_models import TokenClassifier as TokenClassifier
    from tf_distilbert.report.reporter import write_report as write_report
    from tf_distilbert.runs.train import distill as distill
    from tf_distilbert.runs.train import pretrain as pretrain
    from tf_distilbert.serving.embedding import embed as embed
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer as WordPieceTokenizer
    from tf_distilbert.training.optimizer import AdamW as AdamW
    from tf_distilbert.training.optimizer import WarmupThenDecay as WarmupThenDecay
    from tf_distilbert.training.strategy import make_strategy as make_strategy
else:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'tf_distilbert' has no attribute {name!r}")
        return getattr(importlib.import_module(f"tf_distilbert.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
