"""What an exported file takes."""

from collections.abc import Mapping

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
