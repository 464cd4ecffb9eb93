"""A split of tensorflow-datasets, or why there is none."""

from typing import TYPE_CHECKING

from tf_distilbert.errors import UserError

if TYPE_CHECKING:  # to be read from a process that needs none
    import tensorflow as tf


def load_split(name: str, dataset_name: str, split: str) -> "tf.data.Dataset":
    """Load a split in its fixed order.

    Args:
        name: as the user named it, for messages.
        dataset_name: as ``tfds.load`` takes it.
        split: as ``tfds.load`` takes it.

    Raises:
        UserError: the package is missing, or the data set or the split cannot be loaded.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise UserError(f"{name}: needs `pip install tensorflow-datasets`") from None
    try:
        return tfds.load(dataset_name, split=split, shuffle_files=False)
    except Exception as error:  # its errors, and those of its downloads, have no common base
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(
            f"{name}: cannot be loaded ({reason}); run `tfds build {dataset_name}` where there is "
            "a network and set TFDS_DATA_DIR to the result"
        ) from None
