"""The distiller: a teacher and a student in one `keras.Model`.

    loss =  distillation_weight · KL(teacher ‖ student) at temperature T, times T²
          + mlm_weight          · cross-entropy with the masked words
          + cosine_weight       · (1 - cos) of the last hidden states
          + mse_weight          · squared distance of the logits
          + relation_weight     · KL(teacher ‖ student) of the attention relations of a layer
          + hidden_weight       · squared distance of hidden states, layer by layer
          + embedding_weight    · (1 - cos) or squared distance of the vectors of texts

each a mean over the tokens, the last over the texts, of the whole batch. A term of weight 0 is not
computed. The first three are DistilBERT's triple loss, and the default.

Left out on purpose: causal language models.

Dimensions: B batch, S sequence, P prediction slots, N = B·S or B·P rows, D hidden, V vocabulary.

Source: Sanh et al. 2019, section 2; the weights 5/2/1 and T = 2 are the authors' (their issue
thread 2013), the paper does not print them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from keras import KerasTensor as Tensor
from keras import Model, ops

from tf_distilbert.distillation.embedding_comparison import EmbeddingComparison
from tf_distilbert.distillation.layer_pairs import HiddenStateComparison, checked_pair
from tf_distilbert.distillation.pair import as_encoder, check_pair, check_settings
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import cosine_loss, masked_mean
from tf_distilbert.losses.relations import common_relation_heads, relation_loss
from tf_distilbert.losses.vocabulary import CHUNK_SIZE, Projection, TokenWeights, vocabulary_loss
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel, gather_positions
from tf_distilbert.training.batch import Batch, real_texts
from tf_distilbert.training.trainer import MaskedMeanTrainer

Values = dict[str, tuple[Tensor, Tensor]]
"""By the name of a metric the values of tokens and what each counts, [n] each."""


class Distiller(MaskedMeanTrainer):
    """Trains a student to be like its teacher.

    The teacher runs once a step without dropout and without gradient; it is no part of the
    distiller's weights and of no checkpoint. If it computes in bfloat16 or float16, a copy whose
    weights have that dtype takes its place (`EncoderModel.as_teacher`). The student runs once.

    Models without a masked-LM head, such as sentence encoders, are compared by the terms that need
    none: cosine, relations, hidden states and, of `SentenceEncoder`, the vectors of texts.

    Args:
        teacher: with the student's vocabulary; one of `load_model` or `load_task_model`, or
            keras-nlp's ``BertMaskedLM``, ``DistilBertMaskedLM`` or ``RobertaMaskedLM``.
        student: what is trained, in place; see `build_student`. It may be one of keras-nlp's, too.
        temperature: T > 0 of the distillation term.
        distillation_weight, mlm_weight, cosine_weight, mse_weight: of these terms, >= 0.
        relation_weight, hidden_weight, embedding_weight: of the others, >= 0.
        distillation_positions: ``all`` compares the predictions at every real token, as the
            reference does; ``masked`` only at the masked ones (faster: no other logits are made).
        relation_heads: into how many parts queries, keys and values are cut, whatever the models'
            attention heads are; a divisor of both hidden sizes. By default the largest up to 48.
        relation_layers: ``[teacher, student]``, from 0, whose relations are compared; by default
            the last of each.
        hidden_layers: pairs ``[teacher, student]``, from 0, whose outputs are compared; see
            `HiddenStateComparison`, which has the default, and projections where widths differ.
        embedding_loss: ``cosine`` or ``mse``, of the vectors; see `EmbeddingComparison`, which has
            a projection where sizes differ, too.
        chunk_size: tokens whose logits are in memory at a time; see `vocabulary_loss`.
        micro_batches: into how many parts a batch is split; see `MaskedMeanTrainer`.
        **kwargs: `seed` (of dropout) and `name`; see there.

    Raises:
        UserError: a weight or the temperature is out of range; one of the models has not the head
            that a term needs; teacher and student differ in vocabulary, or in hidden size while the
            cosine term is on; layers or relation heads do not fit the models.

    Batches are those of `masked_lm_dataset`. Where they have ``teacher_embedding``, float [B, E],
    the teacher's vectors of the texts, and no other term needs the teacher, it does not run. Rows
    of several texts are refused where vectors are compared.

    The logs of `fit` and `evaluate` have ``loss`` and each term without its weight, a mean a token:
    ``distillation_loss``, ``mlm_loss`` and ``relation_loss`` in nats, ``cosine_loss`` from 0 to 2,
    ``mse_loss``, ``hidden_loss``; a mean a text is ``embedding_loss``. Where a term compares
    predictions (distillation, masked LM, MSE), ``mlm_accuracy`` and ``teacher_agreement`` are
    shares of top-1 answers at the masked tokens. The logs of `fit` have ``gradient_norm``,
    ``tokens_per_second`` and ``skipped_updates`` (that were not finite), too.

    Source: Sanh et al. 2019, section 2; of the relations Wang et al. 2021, of the hidden states
    Jiao et al. 2020.

    Example:
        >>> distiller = Distiller(teacher, build_student(teacher))
        >>> distiller.compile(tf_distilbert.AdamW(5e-4, clip_norm=5.0))
        >>> distiller.fit(dataset, validation_data=held_out)
    """

    def __init__(
        self,
        teacher: Model,
        student: Model,
        temperature: float = 2.0,
        distillation_weight: float = 5.0,
        mlm_weight: float = 2.0,
        cosine_weight: float = 1.0,
        mse_weight: float = 0.0,
        relation_weight: float = 0.0,
        hidden_weight: float = 0.0,
        embedding_weight: float = 0.0,
        distillation_positions: str = "all",
        relation_heads: int | None = None,
        relation_layers: Sequence[int] | None = None,
        hidden_layers: Sequence[Sequence[int]] | None = None,
        embedding_loss: str = "cosine",
        chunk_size: int = CHUNK_SIZE,
        micro_batches: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(micro_batches=micro_batches, **kwargs)
        weights = {
            "distillation_loss": distillation_weight,
            "mlm_loss": mlm_weight,
            "cosine_loss": cosine_weight,
            "mse_loss": mse_weight,
            "relation_loss": relation_weight,
            "hidden_loss": hidden_weight,
            "embedding_loss": embedding_weight,
        }
        check_settings(weights, temperature, distillation_positions, chunk_size)
        teacher, student = as_encoder(teacher), as_encoder(student)
        check_pair(teacher, student, weights)
        self.student = student
        if isinstance(teacher, EncoderModel):
            teacher = teacher.as_teacher()
        # A closure: as an attribute, or behind a property, Keras would save the teacher too.
        self._teacher = lambda: teacher
        self.temperature, self.chunk_size = temperature, chunk_size
        self.loss_weights = {name: weight for name, weight in weights.items() if weight}
        architectures = teacher.architecture, student.architecture
        if relation_weight:
            theirs, ours = (each.hidden_size for each in architectures)
            self.relation_heads = common_relation_heads(theirs, ours, relation_heads)
            last = [each.num_layers - 1 for each in architectures]
            pair = last if relation_layers is None else relation_layers
            self.relation_layers = checked_pair(pair, *architectures, "loss.relation_layers")
        if hidden_weight:
            with self.scope():
                self.hidden_states = HiddenStateComparison(
                    *architectures, hidden_layers, dtype=student.dtype_policy
                )
        if embedding_weight:
            sizes = teacher.embedding_size, student.embedding_size
            with self.scope():
                self.embeddings = EmbeddingComparison(
                    *sizes, embedding_loss, dtype=student.dtype_policy
                )
        # The logits of all positions are made only for a term that compares them.
        compares = {"distillation_loss", "mse_loss"} & self.loss_weights.keys()
        self._compares_all = distillation_positions == "all" and bool(compares)
        self._predicts = bool(compares) or "mlm_loss" in self.loss_weights
        self.token_counts = dict.fromkeys(self.loss_weights, "tokens")
        if embedding_weight:
            self.token_counts["embedding_loss"] = "texts"
        if self._predicts:
            measures = ("mlm_loss", "mlm_accuracy", "teacher_agreement")
            at_masked = measures if self._compares_all else (*measures, *compares)
            self.token_counts |= {
                name: "predictions"
                for name in at_masked
                if name in self.loss_weights or not name.endswith("_loss")
            }
        self.built = True

    def readers(self) -> tuple[Model, Model]:
        """Give student and teacher."""
        return self.student, self._teacher()

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give what the student gives: logits, hidden states or vectors; see its class."""
        return self.student(inputs, training=training)

    def loss_and_metrics(
        self, batch: Batch, token_weights: Mapping[str, Tensor], training: bool
    ) -> tuple[Tensor, Values]:
        """Compute every term and measure; see `MaskedMeanTrainer.loss_and_metrics`."""
        inputs = batch[0]
        teacher_states: tuple[Tensor, ...] = ()
        if not (self.compares_vectors_alone and "teacher_embedding" in inputs):
            teacher_states = tuple(map(ops.stop_gradient, self._teacher().hidden_states(inputs)))
        student_states = self.student.hidden_states(inputs, training=training)
        states, real = (teacher_states, student_states), ops.ravel(inputs["padding_mask"])
        loss = ops.zeros(())
        metrics: Values = {}
        if self._predicts:
            loss, metrics = self._predictions(batch, states, token_weights, training)
        if "relation_loss" in token_weights:
            part, values = self._relations(inputs, states, token_weights, training)
            loss += part
            metrics["relation_loss"] = ops.ravel(values), real
        if "cosine_loss" in token_weights:
            values = cosine_loss(student_states[-1], teacher_states[-1])
            metrics["cosine_loss"] = ops.ravel(values), real
        if "hidden_loss" in token_weights:
            values = self.hidden_states(student_states, teacher_states, inputs["padding_mask"])
            metrics["hidden_loss"] = ops.ravel(values), real
        if "embedding_loss" in token_weights:
            values = self._embedding_loss(inputs, states)
            metrics["embedding_loss"] = values, real_texts(inputs["padding_mask"])
        for name in ("cosine_loss", "hidden_loss", "embedding_loss"):
            if name in token_weights:
                loss += token_weights[name] * masked_mean(*metrics[name], count=1.0)
        return loss, metrics

    @property
    def compares_vectors_alone(self) -> bool:
        """Whether the teacher's vectors of the texts are all that is asked of it."""
        return self.loss_weights.keys() == {"embedding_loss"}

    def _embedding_loss(
        self, inputs: Mapping[str, Tensor], states: tuple[Sequence[Tensor], Sequence[Tensor]]
    ) -> Tensor:
        """Give the term of the texts' vectors: float32 [B]."""
        if "sequence_ids" in inputs:
            raise UserError(
                "rows hold several texts, which loss.embedding_weight cannot tell apart; leave "
                "data.packing out"
            )
        teacher_states, student_states = states
        teacher_embedding = inputs.get("teacher_embedding")
        if teacher_embedding is None:
            embedded = self._teacher().embed(teacher_states[-1], inputs["padding_mask"])
            teacher_embedding = ops.stop_gradient(embedded)
        embedding = self.student.embed(student_states[-1], inputs["padding_mask"])
        return self.embeddings(embedding, teacher_embedding)

    def _predictions(
        self,
        batch: Batch,
        states: tuple[Sequence[Tensor], Sequence[Tensor]],
        token_weights: Mapping[str, Tensor],
        training: bool,
    ) -> tuple[Tensor, Values]:
        """Give the terms that compare predictions, and how often they are right or alike."""
        teacher_states, student_states = states
        rows, token_ids, compared, predicted = self._compared(batch)
        counted = {"distillation_loss": compared, "mlm_loss": predicted, "mse_loss": compared}
        weights = [
            token_weights[name] * counts if name in token_weights else None
            for name, counts in counted.items()
        ]
        loss, values = vocabulary_loss(
            _projection(self.student, rows(student_states[-1]), training),
            _projection(self._teacher(), rows(teacher_states[-1]), training),
            token_ids,
            TokenWeights(*weights),
            self.temperature,
            self.chunk_size,
            with_gradient=training,
        )
        metrics = {
            name: (values[name], counts)
            for name, counts in counted.items()
            if name in token_weights
        }
        metrics["mlm_accuracy"] = values["token_is_top"], predicted
        metrics["teacher_agreement"] = values["tops_agree"], predicted
        return loss, metrics

    def _relations(
        self,
        inputs: Mapping[str, Tensor],
        states: tuple[Sequence[Tensor], Sequence[Tensor]],
        token_weights: Mapping[str, Tensor],
        training: bool,
    ) -> tuple[Tensor, Tensor]:
        """Give the relation term, and its value at each token."""
        models = self._teacher(), self.student
        teacher, student = (
            model.query_key_value(of_model, layer)
            for model, of_model, layer in zip(models, states, self.relation_layers, strict=True)
        )
        real = ops.cast(inputs["padding_mask"], "float32")
        return relation_loss(
            student,
            teacher,
            inputs["padding_mask"],
            token_weights["relation_loss"] * real,
            sequence_ids=inputs.get("sequence_ids"),
            num_relation_heads=self.relation_heads,
            with_gradient=training,
        )

    def _compared(self, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor]:
        """Say at which tokens predictions are made.

        Returns:
            What picks their rows of hidden states, [B, S, D] to [N, D]; the original tokens, int32
            [N]; and what each counts, float32 [N]: as one that both models are compared at, and as
            one to predict.
        """
        inputs, mask_ids, mask_weights = batch
        mask_ids, mask_weights = ops.cast(mask_ids, "int32"), ops.cast(mask_weights, "float32")
        positions, real = inputs["mask_positions"], ops.cast(inputs["padding_mask"], "bool")
        if not self._compares_all:
            predicted = ops.ravel(mask_weights)
            rows = partial(gather_positions, positions=positions)
            return rows, ops.ravel(mask_ids), predicted, predicted
        # One row a token serves both terms: what is in the slots is written where they point to.
        # Slots that are not in use point to a row's first token, and add 0 there.
        num_sequences, length = ops.shape(real)
        first = ops.arange(num_sequences, dtype="int32")[:, None] * length
        places = ops.reshape(ops.cast(positions, "int32") + first, (-1, 1))
        in_use = ops.cast(mask_weights != 0, "int32")
        token_ids, predicted = (
            ops.scatter(places, ops.ravel(slots), (num_sequences * length,))
            for slots in (mask_ids * in_use, mask_weights)
        )
        return _flatten, token_ids, ops.cast(ops.ravel(real), "float32"), predicted


def _flatten(hidden: Tensor) -> Tensor:
    return ops.reshape(hidden, (-1, hidden.shape[-1]))


def _projection(model: MaskedLanguageModel, hidden: Tensor, training: bool) -> Projection:
    projection = model.projection(hidden)
    if training:
        return projection
    # In bfloat16 many logits are equal, and a tie counts as a hit.
    return projection._replace(hidden=ops.cast(projection.hidden, "float32"))
