"""The weights of a Hugging Face folder: safetensors or PyTorch's pickles, whole or in shards."""

import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy, which safetensors then reads
import numpy as np
from safetensors import SafetensorError, safe_open

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json

# The first that is there is read. Safetensors go first: they need no torch.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

# Before this version a file could get around `weights_only` (CVE-2025-32434).
_SAFE_TORCH = "2.6"

# What torch says of a pickle that wants more than tensors.
_NEEDS_CODE = re.compile(r"GLOBAL|is blocked|allowlisted|call reduce|must be imported")

# What a clone without Git LFS has in the place of a large file.
_LFS_POINTER = b"version https://git-lfs"


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Read every tensor of a Hugging Face folder.

    Args:
        folder: holds one of `WEIGHT_FILES`; an index has its shards beside it.

    Returns:
        Name to array: numbers with a fraction in float32, whatever they are stored in; integers
        and truth values as they are stored.

    Raises:
        UserError: no weights, or a file that is damaged, not there, not what the index says, or
            that needs torch where there is none; names the file.
    """
    for name in WEIGHT_FILES:
        path = Path(folder) / name
        if path.exists():
            return _read_shards(path) if name.endswith(".json") else _read_file(path)
    raise UserError(
        f"{folder}: has no weights (none of {', '.join(WEIGHT_FILES)}); "
        "save the model with safetensors"
    )


def _read_shards(index: Path) -> dict[str, np.ndarray]:
    names_by_file: dict[str, list[str]] = {}
    for name, file_name in _read_weight_map(index).items():
        names_by_file.setdefault(file_name, []).append(name)
    for file_name in names_by_file:
        if not (index.parent / file_name).exists():
            raise UserError(
                f"{index}: names {file_name}, which is missing; copy the folder with all its shards"
            )
    tensors = {}
    for file_name, names in names_by_file.items():
        shard = _read_file(index.parent / file_name)
        for name in names:
            if name not in shard:
                raise UserError(
                    f"{index.parent / file_name}: lacks {name}, which {index.name} puts there; "
                    "shards and index belong to different models, copy them again"
                )
            tensors[name] = shard[name]
    return tensors


def _read_weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index}: lacks a weight_map of tensors to files; copy it again")
    # Plain names of the index's own kind alone: it shall neither reach out of the folder nor turn
    # safetensors into a pickle. Symbolic links are fine, the Hub's cache is made of them.
    kind = index.name.removesuffix(".index.json").rpartition(".")[2]
    for file_name in weight_map.values():
        if not isinstance(file_name, str) or not re.fullmatch(rf"[^/\\:\0]+\.{kind}", file_name):
            raise UserError(
                f"{index}: names {file_name!r}; shards must be .{kind} files of the same folder"
            )
    return weight_map


def _read_file(path: Path) -> dict[str, np.ndarray]:
    read: Callable[[Path], dict[str, np.ndarray]] = _read_pickle
    if path.suffix == ".safetensors":
        read = _read_safetensors
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_LFS_POINTER))
        if beginning == _LFS_POINTER:
            raise UserError(f"{path}: is a Git LFS pointer, not the weights; run `git lfs pull`")
        return read(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({_one_line(error.strerror or error)}); copy it again"
        ) from None


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="np") as file:
            return {name: _as_float32(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from None
    except AttributeError as error:  # of NumPy, which has no such number
        raise UserError(
            f"{path}: holds numbers of a kind that cannot be read ({_one_line(error)}); "
            "save the model in float32, float16 or bfloat16"
        ) from None


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    torch = _import_torch(path)
    try:
        with warnings.catch_warnings():  # about the file's age; what matters is raised
            warnings.simplefilter("ignore")
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _NEEDS_CODE.search(str(error)):
            raise _damaged(path, error) from None
        raise UserError(
            f"{path}: holds more than tensors and would run code when read, so it is refused; "
            "save the state_dict() of the model alone, with safetensors"
        ) from None
    except OSError:
        raise
    except Exception as error:  # torch stumbles over broken bytes in as many ways as they break
        raise _damaged(path, error) from None
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise UserError(
            f"{path}: holds something else than tensors by name; "
            "save the state_dict() of the model alone, with safetensors"
        )
    return {str(name): _from_torch(tensor.detach()) for name, tensor in tensors.items()}


def _import_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path}: is read with PyTorch, which is not installed; `pip install torch`, or save "
            "the model with safetensors (save_pretrained of a recent transformers does)"
        ) from None
    if torch.__version__ < _SAFE_TORCH:
        raise UserError(
            f"{path}: torch {torch.__version__} could be made to run code by such a file; "
            f"`pip install 'torch>={_SAFE_TORCH}'`, or save the model with safetensors"
        )
    return torch


def _from_torch(tensor: Any) -> np.ndarray:
    # NumPy has no bfloat16 of its own, so it is widened on torch's side.
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _as_float32(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "iub":
        return array
    return array.astype(np.float32, copy=False)


def _damaged(path: Path, error: Exception) -> UserError:
    reason = _one_line(error) or type(error).__name__
    kind = "safetensors" if path.suffix == ".safetensors" else "PyTorch weights"
    return UserError(f"{path}: truncated or damaged, or no {kind} ({reason}); copy it again")


def _one_line(error: object) -> str:
    # torch puts its reason between advice that does not help here.
    reason = str(error).rpartition("WeightsUnpickler error:")[2]
    text = " ".join(reason.partition("Check the documentation")[0].split())
    return text if len(text) <= 120 else text[:117] + "..."
