"""What an exported file takes."""

from collections.abc import Callable, Mapping

import numpy as np

from tf_distilbert.errors import UserError


def as_int32(inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Pick what an exported file takes, in its dtype.

    Raises:
        UserError: an input is missing.
    """
    missing = [name for name in names if name not in inputs]
    if missing:
        raise UserError(f"the inputs lack {', '.join(missing)}; the file takes {', '.join(names)}")
    return {name: np.asarray(inputs[name], np.int32) for name in names}


def with_a_slot(
    run: Callable[[dict[str, np.ndarray]], np.ndarray], inputs: dict[str, np.ndarray]
) -> np.ndarray:
    """Run a file that cannot predict at no position at all: at one, whose output is dropped."""
    positions = inputs.get("mask_positions")
    if positions is None or positions.shape[1]:
        return run(inputs)
    return run(inputs | {"mask_positions": np.zeros((len(positions), 1), np.int32)})[:, :0]
