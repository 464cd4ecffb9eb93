"""The service of each task."""

from tf_distilbert.serving.classification import ClassificationService
from tf_distilbert.serving.embedding import EmbeddingService
from tf_distilbert.serving.masked_lm import MaskedLMService
from tf_distilbert.serving.question_answering import QuestionAnsweringService
from tf_distilbert.serving.service import Service
from tf_distilbert.serving.token_classification import TokenClassificationService

SERVICES: dict[str, type[Service]] = {
    "masked_lm": MaskedLMService,
    "sequence_classification": ClassificationService,
    "token_classification": TokenClassificationService,
    "question_answering": QuestionAnsweringService,
    "encoder": EmbeddingService,
}
