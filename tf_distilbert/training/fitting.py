"""What Keras's users call: `fit`, `evaluate` and `save`, with the promises that Keras makes."""

from collections.abc import Sequence
from typing import Any

import keras

from tf_distilbert.backend import step
from tf_distilbert.errors import UserError, reveal_user_errors
from tf_distilbert.training.callbacks import Throughput, prepare_callbacks
from tf_distilbert.training.update import updating

_ENDLESS, _UNKNOWN = -1, -2
"""What `tf.data` calls a cardinality that is no number."""


class FittingModel(step.StepModel):
    """A `keras.Model` that trains a model of its own, and is saved as that."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._throughput = Throughput()
        self._has_all_steps = False
        self._test_steps_left: int | None = None
        self._has_all_test_steps = False

    def readers(self) -> Sequence[keras.Model]:
        """Give the models that read a batch: the one that is trained, then its teacher, if any."""
        raise AssertionError("a subclass has models")

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: list | keras.callbacks.Callback | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; the logs hold `tokens_per_second` too.

        Raises:
            UserError: a batch is not what it must be; `steps_per_epoch` is no multiple of
                `steps_per_execution`; or what is trained has changed since `compile`.
        """
        steps, at_once = kwargs.get("steps_per_epoch"), self.steps_per_execution
        if steps and steps % at_once:
            raise UserError(
                f"steps_per_execution is {at_once}, but steps_per_epoch is {steps}; give a multiple"
            )
        self._check_compiled_variables()
        count = _cardinality(x)
        self._has_all_steps = count % (steps or at_once) == 0 if count >= 0 else bool(steps)
        self._has_all_steps |= count == _ENDLESS
        if hasattr(x, "element_spec"):  # a dataset
            kwargs.setdefault("shuffle", False)  # Keras cannot, and warns of its own default
        callbacks = prepare_callbacks(
            callbacks, self.metrics, self._throughput, with_bar=verbose != 0
        )
        with reveal_user_errors():
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Measure as `keras.Model.evaluate` does; the first figure is the loss.

        Raises:
            UserError: a batch is not what it must be.
        """
        self._test_steps_left, count = steps, _cardinality(x)
        self._has_all_test_steps = steps is not None and not 0 <= count < steps
        try:
            with reveal_user_errors():
                return super().evaluate(
                    x, y, batch_size, verbose, sample_weight, steps, *args, **kwargs
                )
        finally:
            self._test_steps_left = None

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Make one update, as `keras.Model.train_on_batch` does."""
        self._check_compiled_variables()
        with reveal_user_errors():
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Measure one batch, as `keras.Model.test_on_batch` does."""
        with reveal_user_errors():
            return super().test_on_batch(*args, **kwargs)

    def take_steps(self) -> tuple[int, bool]:
        """Tell how many batches the next execution of `fit` takes; see `StepModel`."""
        return self.steps_per_execution, self._has_all_steps

    def take_test_steps(self) -> tuple[int, bool]:
        """Tell the same of an evaluation."""
        if self._test_steps_left is None:
            return self.steps_per_execution, False
        taken = min(self.steps_per_execution, self._test_steps_left)
        self._test_steps_left -= taken
        return taken, self._has_all_test_steps

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Save the model that is trained in Keras's format; no teacher, and no optimizer.

        What `keras.callbacks.ModelCheckpoint` calls. `keras.models.load_model` gives the model.
        """
        self.settle()
        self.readers()[0].save(filepath, overwrite=overwrite, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Refuse: what Keras saves is the model that is trained; see `save`."""
        name = type(self).__name__
        raise UserError(f"a {name} cannot be saved or cloned itself; use {name}.save, or its model")

    def _check_compiled_variables(self) -> None:
        """See that the optimizer was made for the weights that are trained."""
        if self.optimizer is None:  # Keras says that `compile` is missing
            return
        known = updating(self.optimizer)._trainable_variables
        if list(map(id, known)) != list(map(id, self.trainable_variables)):
            raise UserError(
                "the trainable weights are not those that the optimizer was made for; call compile "
                "with a new optimizer"
            )


def _cardinality(x: Any) -> int:
    # A dataset's is a method, of a distributed one a number, which may be that of one worker.
    count = getattr(x, "cardinality", None)
    return int(count()) if callable(count) else _UNKNOWN
