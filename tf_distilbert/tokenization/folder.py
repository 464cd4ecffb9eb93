"""The tokenizer of a model folder, whichever of ours it is."""

from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.japanese import DICTIONARIES, JapaneseTokenizer
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, ROBERTA_TOKENS, Tokenizer
from tf_distilbert.tokenization.vocabulary_file import check_vocabulary, read_vocabulary
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Make the tokenizer of a model folder.

    WordPiece is in ``vocab.txt``, byte-level BPE in ``vocab.json`` and ``merges.txt``; or either
    in ``tokenizer.json``, which alone recent versions of `transformers` write. The settings are
    those of ``tokenizer_config.json``, else of ``tokenizer.json``. Without either, as in Google's
    own folders, a vocabulary with capital letters is cased.

    Raises:
        UserError: a file is missing or broken, or the tokenizer is none of ours.
    """
    folder = Path(folder)
    config_path = folder / "tokenizer_config.json"
    settings = read_json(config_path) if config_path.exists() else {}
    if settings.get("tokenizer_class", "").startswith("BertJapanese"):
        return _japanese(folder, settings)
    if (folder / "vocab.txt").exists():
        return _word_piece(read_vocabulary(folder / "vocab.txt"), settings)
    if (folder / "vocab.json").exists() or (folder / "merges.txt").exists():
        return _byte_pair(folder, settings)
    if (folder / "tokenizer.json").exists():
        return _from_tokenizer_json(folder / "tokenizer.json", settings)
    raise UserError(
        f"{folder}: has no tokenizer of ours: no vocab.txt (WordPiece), no vocab.json with "
        "merges.txt (byte-level BPE), no tokenizer.json"
    )


def _word_piece(vocabulary: list[str], settings: dict[str, Any]) -> WordPieceTokenizer:
    split_chinese = settings.get("tokenize_chinese_chars", True)
    lower_case = settings.get("do_lower_case", not _has_capitals(vocabulary))
    return WordPieceTokenizer(vocabulary, lower_case, settings.get("strip_accents"), split_chinese)


def _has_capitals(vocabulary: list[str]) -> bool:
    words = set(vocabulary) - set(BERT_TOKENS)
    return any(word != word.lower() for word in words if not word.startswith("["))


def _japanese(folder: Path, settings: dict[str, Any]) -> JapaneseTokenizer:
    for key, ours in (("word_tokenizer_type", "mecab"), ("subword_tokenizer_type", "wordpiece")):
        if settings.get(key, ours) != ours:
            raise UserError(
                f"{folder / 'tokenizer_config.json'}: {key} {settings[key]!r} is not supported; "
                f"only {ours} is"
            )
    mecab = settings.get("mecab_kwargs") or {}
    return JapaneseTokenizer(
        read_vocabulary(folder / "vocab.txt"),
        mecab.get("mecab_dic") or DICTIONARIES[0],
        mecab.get("mecab_option") or "",
        settings.get("do_lower_case", False),
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
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise UserError(f"{path.parent}: the ids of its vocabulary are not 0, 1, 2, ...")
    broken = [p for p in merges if len(p) != 2 or not {*p, "".join(p)} <= vocabulary.keys()]
    if broken:
        raise UserError(f"{path}: merge {' '.join(broken[0])!r} does not fit the vocabulary")
    return BytePairTokenizer(vocabulary, merges, settings.get("add_prefix_space", False))


def _from_tokenizer_json(path: Path, settings: dict[str, Any]) -> Tokenizer:
    fast = read_json(path)
    model = fast.get("model") or {}
    vocabulary = model.get("vocab")
    if model.get("type") == "WordPiece" and isinstance(vocabulary, dict):
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        check_vocabulary(tokens, path)
        return _word_piece(tokens, _word_piece_settings(fast.get("normalizer")) | settings)
    pre_tokenizer = fast.get("pre_tokenizer") or {}
    if model.get("type") == "BPE" and pre_tokenizer.get("type") == "ByteLevel":
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        prefix = {"add_prefix_space": pre_tokenizer.get("add_prefix_space", False)}
        return _make_byte_pair(vocabulary, merges, prefix | settings, path)
    raise UserError(
        f"{path}: its tokenizer is of type {model.get('type')}, which is none of ours; "
        "WordPiece and byte-level BPE are"
    )


def _word_piece_settings(normalizer: dict[str, Any] | None) -> dict[str, Any]:
    """What ``tokenizer.json``'s normalizer, or one of a sequence of them, says."""
    settings: dict[str, Any] = {"do_lower_case": False, "strip_accents": False}
    for part in (normalizer or {}).get("normalizers", [normalizer or {}]):
        if part.get("type") == "BertNormalizer":
            settings["do_lower_case"] = part.get("lowercase", True)
            settings["strip_accents"] = part.get("strip_accents")
            settings["tokenize_chinese_chars"] = part.get("handle_chinese_chars", True)
        elif part.get("type") == "Lowercase":
            settings["do_lower_case"] = True
        elif part.get("type") == "StripAccents":
            settings["strip_accents"] = True
    return settings
