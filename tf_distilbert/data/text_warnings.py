"""What should be known of prepared text before it is learnt."""

from tf_distilbert.data.records import Records

MOST_UNKNOWN = 0.05
"""A text with a larger share of [UNK] is not what the vocabulary was made for."""

MOST_INVALID_LINES = 0.05
"""A text with a larger share of lines that are not UTF-8 has another encoding in places."""


def text_warnings(records: Records) -> list[str]:
    """Tell of text that its tokenizer hardly knows, or that is not UTF-8: each a line.

    Args:
        records: the text.
    """
    lines = []
    if records.unknown_share > MOST_UNKNOWN:
        lines.append(
            f"{records.unknown_share:.1%} of the tokens are [UNK], which "
            "the vocabulary cannot spell; use a model or vocabulary of the text's language"
        )
    num_unknown, num_all = records.manifest["num_dropped"]["unknown"], len(records)
    num_all += sum(records.manifest["num_dropped"].values())
    if num_unknown > MOST_UNKNOWN * num_all:
        lines.append(
            f"{num_unknown / num_all:.0%} of the sequences are mostly "
            "[UNK] and were left out; use a model or vocabulary of the text's language"
        )
    num_lines = records.manifest.get("num_lines", 0)  # older records do not say
    num_invalid = records.manifest["num_invalid_lines"]
    if num_invalid > MOST_INVALID_LINES * num_lines > 0:
        lines.append(
            f"{num_invalid / num_lines:.1%} of the lines are not UTF-8 "
            "and were left out; convert the text: iconv -f latin1 -t utf-8"
        )
    return lines
