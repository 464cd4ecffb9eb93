"""Models on the Hugging Face Hub: ``hf://OWNER/NAME`` to a folder in the cache that all share.

`huggingface_hub` does the work: the cache, ``HF_HOME``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, tokens
and progress bars are its own.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from tf_distilbert.errors import UserError

PREFIX = "hf://"

_SMALL_FILES = (
    "config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    # Of sentence encoders, which have a folder for each module.
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "[1-9]_*/config.json",
)
# The kinds of weights that `weight_files` reads, the better one first: a repository often has the
# same weights as both. A shard's name is spelt out, as * would also find files in folders.
_WEIGHT_KINDS = (
    (
        "model.safetensors",
        "model.safetensors.index.json",
        "model-?????-of-?????.safetensors",
        "[1-9]_Dense/model.safetensors",
    ),
    (
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "pytorch_model-?????-of-?????.bin",
        "[1-9]_Dense/pytorch_model.bin",
    ),
)

_REVISION = re.compile(r"\w[\w.+/-]*")


def download(name: str) -> Path:
    """Fetch what is needed of a model on the Hub, or find it in the cache.

    Only the configuration, the tokenizer and one kind of weights are fetched: safetensors where
    the repository has them, else ``pytorch_model*.bin``. What is cached is not fetched again; it
    serves without the Hub, too, when that is out of reach or ``HF_HUB_OFFLINE=1``.

    Args:
        name: ``hf://OWNER/NAME``, ``hf://NAME``, either with ``@REVISION`` (branch, tag, commit).

    Returns:
        The local folder.

    Raises:
        UserError: a bad name, no such repository or revision, no right to read it, no network, no
            weights; says which, and what to do.

    Example:
        >>> folder = download("hf://google-bert/bert-base-uncased@main")
    """
    repository, revision = _parse(name)
    with _explain_errors(name, repository, revision):
        folder = _fetch(repository, revision)
    if not _weights_in(folder):
        raise UserError(
            f"{name}: neither model.safetensors nor pytorch_model.bin, whole or in shards, came to "
            f"{folder}; if the repository has them, fetch it again with the Hub in reach, else "
            "save the model with safetensors and give that folder's path"
        )
    return folder


def _parse(name: str) -> tuple[str, str | None]:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repository, at, revision = name.removeprefix(PREFIX).partition("@")
    try:
        validate_repo_id(repository)
        valid = not at or (_REVISION.fullmatch(revision) and ".." not in revision)
    except HFValidationError:
        valid = False
    if not valid:
        raise UserError(
            f"{name!r}: names no model; write {PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME@REVISION, "
            "or give the path of a local folder"
        )
    return repository, revision or None


def _fetch(repository: str, revision: str | None) -> Path:
    folder = Path()
    for kind in _WEIGHT_KINDS:
        # The small files each time: the revision may have moved on in between.
        folder = _snapshot(repository, revision, [*_SMALL_FILES, *kind])
        # Of this kind: an index of the other may be left from a download that was cut short.
        if _weights_in(folder, [kind]):
            break
    return folder


def _snapshot(repository: str, revision: str | None, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=files))
    except _fetch_errors() as error:
        # A refused connection lets it look into the cache, a broken one or a proxy's does not.
        if isinstance(error, (HfHubHTTPError, FileNotFoundError)) or _is_local(error):
            raise
        try:
            folder = Path(
                snapshot_download(
                    repository, revision=revision, allow_patterns=files, local_files_only=True
                )
            )
        except _fetch_errors():
            raise error from None
        if not _weights_in(folder):
            raise
        return folder


def _weights_in(folder: Path, kinds: Iterable[tuple[str, ...]] = _WEIGHT_KINDS) -> bool:
    return any((folder / name).exists() for kind in kinds for name in kind[:2])


def _fetch_errors() -> tuple[type[Exception], ...]:
    """What a download may end with: errors of the HTTP library, of the disk, of hf_xet."""
    from huggingface_hub.errors import HfHubHTTPError

    # The HTTP library has changed with the version (requests, httpx); its errors' base has not.
    return (*HfHubHTTPError.__bases__, OSError, RuntimeError)


def _is_local(error: Exception) -> TypeGuard[OSError]:
    """Whether the disk and not the network failed; only then Python fills in the number."""
    return isinstance(error, OSError) and error.errno is not None


@contextmanager
def _explain_errors(name: str, repository: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except _fetch_errors() as error:
        raise UserError(
            f"{name}: {_explanation(error, repository, revision)}, "
            "or download the folder elsewhere and give its path"
        ) from None


def _explanation(error: Exception, repository: str, revision: str | None) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # "Not in the cache" is half the story; the other half is why the Hub did not help.
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"{constants.ENDPOINT}/{repository}"
    if isinstance(error, GatedRepoError):
        return f"is gated; accept its terms at {page} and run `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"no such repository, or a private one ({page}); check the name, run `hf auth login` "
            "if it is private"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {revision or 'main'!r}; see {page}/tree for those it has"
    if status in (401, 403):
        return f"the Hub refuses to give it to you ({status}); run `hf auth login`"
    if _is_local(error):
        return (
            f"cannot be stored in {constants.HF_HUB_CACHE} ({error.strerror}); make room or set "
            "HF_HOME to another place"
        )
    if constants.HF_HUB_OFFLINE:
        return "is not (or not wholly) in the cache and HF_HUB_OFFLINE is set; unset it to fetch it"
    reason = _one_line(error)
    return f"cannot be fetched from {constants.ENDPOINT} ({reason}); check the network"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else text[:197] + "...") or type(error).__name__
