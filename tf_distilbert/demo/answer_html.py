"""A comparison as HTML: tables that a screen reader can read, nothing of a text taken as markup."""

from html import escape

from tf_distilbert.demo.answer_table import AnswerTable
from tf_distilbert.demo.comparison import Comparison

WHAT_LATENCY_IS = (
    "Latency is the time from a text to its answer on this machine: one text at a time, tokenizing "
    "included, this page not; the median of {calls} after one that is not counted, the two models "
    "in turns. What runs as one graph runs as on a server; what runs in steps is slower here than "
    "it need be. Many texts at once take less time each."
)


def comparison_html(comparison: Comparison) -> str:
    """Show answers and latencies."""
    seconds = comparison.seconds
    milliseconds = (f"{1000 * value:.2f}" for value in seconds)
    ways = ("one graph" if is_one else "steps" for is_one in comparison.is_one_graph)
    latency = AnswerTable("Latency", (("milliseconds", *milliseconds), ("runs as", *ways)))
    calls = f"{comparison.calls} calls" if comparison.calls > 1 else "one call"
    return "\n".join(
        (
            f"<p><strong>{escape(comparison.answers.agreement)}</strong></p>",
            *map(_table, (*comparison.answers.tables, latency)),
            f"<p>The student takes {seconds[1] / seconds[0]:.2f} of the teacher's time.</p>",
            f"<p><small>{WHAT_LATENCY_IS.format(calls=calls)}</small></p>",
        )
    )


def error_html(message: str) -> str:
    """Show what is wrong with a request."""
    return f'<p role="alert">{escape(message)}</p>'


def _table(table: AnswerTable) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in table.rows
    )
    head = '<td></td><th scope="col">Teacher</th><th scope="col">Student</th>'
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
