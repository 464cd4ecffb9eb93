"""The tokenizer of a model folder, whichever of ours it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.japanese import DICTIONARIES, JapaneseTokenizer
from tf_distilbert.tokenization.tokenizer import (
    BERT_TOKENS,
    ROBERTA_TOKENS,
    Tokenizer,
    check_vocabulary,
    read_vocabulary,
)
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

# What `tokenizer_class` may say, without "Fast"; the last two are for any tokenizer.json.
_CLASSES = (
    *("BertTokenizer", "DistilBertTokenizer", "RobertaTokenizer", "BertJapaneseTokenizer"),
    *("PreTrainedTokenizer", "TokenizersBackend"),
)
# Steps of a tokenizer.json that `WordPieceTokenizer` takes.
_NORMALIZERS = ("BertNormalizer", "NFD", "Lowercase", "StripAccents")


def read_tokenizer(folder: str | Path) -> Tokenizer:
    """Make the tokenizer of a model folder.

    WordPiece is in ``vocab.txt``, byte-level BPE in ``vocab.json`` and ``merges.txt``; or either
    in ``tokenizer.json``, which alone recent versions of `transformers` write. The settings are
    those of ``tokenizer_config.json``, else of ``tokenizer.json``. Without either, as in Google's
    own folders, a vocabulary with capital letters is cased.

    Raises:
        UserError: a file is missing or broken, or the tokenizer is not supported.
    """
    folder = Path(folder)
    config_path, json_path = folder / "tokenizer_config.json", folder / "tokenizer.json"
    settings = read_json(config_path) if config_path.exists() else {}
    fast = read_json(json_path) if json_path.exists() else {}
    name = _class_name(folder, settings)
    with _explain_malformed(config_path):
        if name == "BertJapaneseTokenizer" or "word_tokenizer_type" in settings:
            return _japanese(folder, settings)
        if (folder / "vocab.txt").exists():
            tokens = read_vocabulary(folder / "vocab.txt")
            return _word_piece(tokens, _fast_settings(fast, json_path) | settings, config_path)
        if (folder / "vocab.json").exists() or (folder / "merges.txt").exists():
            return _byte_pair(folder, _fast_settings(fast, json_path) | settings)
    if not fast:
        raise UserError(
            f"{folder}: has no tokenizer of ours: no vocab.txt (WordPiece), no vocab.json with "
            "merges.txt (byte-level BPE), no tokenizer.json"
        )
    with _explain_malformed(json_path):
        return _from_tokenizer_json(fast, json_path, settings)


def _class_name(folder: Path, settings: dict[str, Any]) -> str | None:
    """Give the class that the folder names, without "Fast"; older ones do in ``config.json``."""
    config = folder / "config.json"
    name = settings.get("tokenizer_class")
    if name is None and config.exists():
        name = read_json(config).get("tokenizer_class")
    name = None if name is None else str(name).removesuffix("Fast")
    if name not in (None, *_CLASSES) or settings.get("do_basic_tokenize") is False:
        what = f"tokenizer_class {name}" if name not in (None, *_CLASSES) else "do_basic_tokenize"
        raise UserError(
            f"{folder / 'tokenizer_config.json'}: {what} is not supported; "
            "BERT's WordPiece, RoBERTa's byte-level BPE and Japanese BERT's are"
        )
    return name


def _word_piece(vocabulary: list[str], settings: dict[str, Any], path: Path) -> WordPieceTokenizer:
    lower_case = _flag(settings, "do_lower_case", not _has_capitals(vocabulary), path)
    strip_accents = settings.get("strip_accents")
    if strip_accents is not None:
        strip_accents = _flag(settings, "strip_accents", lower_case, path)
    split_chinese = _flag(settings, "tokenize_chinese_chars", True, path)
    return WordPieceTokenizer(vocabulary, lower_case, strip_accents, split_chinese)


def _flag(settings: dict[str, Any], key: str, default: bool, path: Path) -> bool:
    value = settings.get(key, default)
    if not isinstance(value, bool):
        raise UserError(f"{path}: {key} is {value!r}; write true or false")
    return value


def _has_capitals(vocabulary: list[str]) -> bool:
    # Uncased vocabularies, too, have [unused1] and <S>.
    return any(word != word.lower() for word in vocabulary if word[:1] not in ("[", "<"))


def _japanese(folder: Path, settings: dict[str, Any]) -> JapaneseTokenizer:
    path = folder / "tokenizer_config.json"
    # What is not given is what `transformers` takes.
    for key, ours, default in (
        ("word_tokenizer_type", "mecab", "basic"),
        ("subword_tokenizer_type", "wordpiece", "wordpiece"),
    ):
        if settings.get(key, default) != ours:
            raise UserError(
                f"{path}: {key} {settings.get(key, default)!r} is not supported; only {ours} is"
            )
    mecab = settings.get("mecab_kwargs") or {}
    return JapaneseTokenizer(
        read_vocabulary(folder / "vocab.txt"),
        mecab.get("mecab_dic") or DICTIONARIES[0],
        mecab.get("mecab_option") or "",
        _flag(settings, "do_lower_case", False, path),
        mecab.get("normalize_text", True),
    )


def _byte_pair(folder: Path, settings: dict[str, Any]) -> BytePairTokenizer:
    path = folder / "merges.txt"
    vocabulary = read_json(folder / "vocab.json")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; byte-level BPE needs it beside vocab.json") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; copy it again") from None
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    return _make_byte_pair(vocabulary, merges, settings, path)


def _make_byte_pair(
    vocabulary: dict[str, int], merges: list, settings: dict[str, Any], path: Path
) -> BytePairTokenizer:
    missing = [token for token in ROBERTA_TOKENS if token not in vocabulary]
    if missing:
        raise UserError(f"{path.parent}: its vocabulary lacks {', '.join(missing)}, RoBERTa's own")
    _in_order(vocabulary, path.parent)
    broken = [p for p in merges if len(p) != 2 or not {*p, "".join(p)} <= vocabulary.keys()]
    if broken:
        raise UserError(f"{path}: merge {' '.join(broken[0])!r} does not fit the vocabulary")
    mask = settings.get("mask_token")
    if isinstance(mask, dict):
        settings = {"mask_takes_space": mask.get("lstrip", False), **settings}
    flags = [
        _flag(settings, key, default, path)
        for key, default in (("add_prefix_space", False), ("mask_takes_space", True))
    ]
    return BytePairTokenizer(vocabulary, merges, *flags)


def _in_order(vocabulary: dict[str, int], path: Path) -> list[str]:
    """Give the tokens by id, which must be 0, 1, 2, ..."""
    ids = list(vocabulary.values())
    if not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise UserError(f"{path}: the ids of its vocabulary are not 0, 1, 2, ...; copy it again")
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _from_tokenizer_json(fast: dict[str, Any], path: Path, settings: dict[str, Any]) -> Tokenizer:
    model = fast["model"]
    settings = _fast_settings(fast, path) | settings
    added = {token["content"]: token["id"] for token in fast.get("added_tokens", ())}
    vocabulary = {**model["vocab"], **added} if isinstance(model["vocab"], dict) else {}
    if model.get("type") == "WordPiece":
        tokens = _in_order(vocabulary, path)
        check_vocabulary(tokens, path)
        return _word_piece(tokens, settings, path)
    if model.get("type") == "BPE" and _type(fast, "pre_tokenizer") == "ByteLevel":
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        return _make_byte_pair(vocabulary, merges, settings, path)
    raise UserError(
        f"{path}: its tokenizer is of type {model.get('type')}, which is not supported; "
        "WordPiece and byte-level BPE are"
    )


def _fast_settings(fast: dict[str, Any], path: Path) -> dict[str, Any]:
    """What ``tokenizer.json`` says of settings, in the words of ``tokenizer_config.json``.

    Raises:
        UserError: it does something with text that none of our tokenizers does.
    """
    if not fast:
        return {}
    with _explain_malformed(path):
        added = {token["content"]: token for token in fast.get("added_tokens", ())}
        foreign = sorted(added.keys() - {*BERT_TOKENS, *ROBERTA_TOKENS})
        kind = fast["model"].get("type")
        if kind == "WordPiece":
            parts = _normalizers(fast.get("normalizer"))
            foreign += [part["type"] for part in parts if part["type"] not in _NORMALIZERS]
            if _type(fast, "pre_tokenizer") not in (None, "BertPreTokenizer"):
                foreign.append(_type(fast, "pre_tokenizer"))
            settings = _normalizer_settings(parts)
        else:
            foreign += [part["type"] for part in _normalizers(fast.get("normalizer"))]
            space = (fast.get("pre_tokenizer") or {}).get("add_prefix_space", False)
            settings = {"add_prefix_space": space}
            if ROBERTA_TOKENS.mask in added:
                lstrip = added[ROBERTA_TOKENS.mask].get("lstrip", False)
                settings["mask_takes_space"] = lstrip
    if foreign and kind in ("WordPiece", "BPE"):
        raise UserError(f"{path}: its tokenizer has {foreign[0]}, which is not supported")
    return settings


def _normalizers(normalizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if normalizer is None:
        return []
    return normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]


def _normalizer_settings(parts: list[dict[str, Any]]) -> dict[str, Any]:
    settings: dict[str, Any] = {"do_lower_case": False, "strip_accents": False}
    for part in parts:
        if part["type"] == "BertNormalizer":
            settings["do_lower_case"] = part.get("lowercase", True)
            settings["strip_accents"] = part.get("strip_accents")
            settings["tokenize_chinese_chars"] = part.get("handle_chinese_chars", True)
        settings["do_lower_case"] |= part["type"] == "Lowercase"
        if part["type"] == "StripAccents":
            settings["strip_accents"] = True
    return settings


def _type(fast: dict[str, Any], part: str) -> str | None:
    return (fast.get(part) or {}).get("type")


@contextmanager
def _explain_malformed(path: Path) -> Iterator[None]:
    """Turn what Python says of JSON of another form than `transformers` writes into one line."""
    try:
        yield
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"{path}: not in the form of a tokenizer's ({reason}); copy it again"
        ) from None
