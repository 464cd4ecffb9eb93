"""The page: boxes for the texts of a task, a button, and what the two models answer."""

from collections.abc import Callable
from html import escape

import gradio
from fastapi import FastAPI, Request, Response

from tf_distilbert.demo.answer_html import comparison_html, error_html
from tf_distilbert.demo.comparison import compare
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError
from tf_distilbert.serving.served_model import ServedModel

TITLE = "Teacher and student"

# The browser fetches nothing from elsewhere, whatever Gradio's files ask for.
_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'self'"
)

# Fonts that are there already.
_THEME_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}

_CSS = """
#answers table { border-collapse: collapse; margin: 1rem 0; min-width: 24rem; }
#answers caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
#answers th, #answers td { text-align: left; padding: 0.25rem 0.75rem; }
#answers tbody tr { border-top: 1px solid var(--border-color-primary); }
"""

# A screen reader says what appears there.
_SCRIPT = "() => document.getElementById('answers').setAttribute('aria-live', 'polite')"


def make_page(pair: ModelPair) -> FastAPI:
    """Make the page as a web application that sends nothing outside.

    Args:
        pair: the models that answer.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def keep_inside(request: Request, call_next: Callable) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
        return response

    return gradio.mount_gradio_app(
        app,
        _blocks(pair),
        path="/",
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=gradio.themes.Default(**_THEME_FONTS),
        css=_CSS,
        js=_SCRIPT,
    )


def _blocks(pair: ModelPair) -> gradio.Blocks:
    served = pair.teacher.served

    def answer(*texts: str) -> str:
        request = dict(zip(_names(served), texts, strict=True))
        if not request.get("text_pair", "").strip():
            request.pop("text_pair", None)
        try:
            return comparison_html(compare(pair, request))
        except UserError as error:
            return error_html(str(error))

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gradio.HTML(
            f"<h1>{TITLE}</h1><p>{_TASKS[served.task]}. Teacher: "
            f"<code>{escape(pair.teacher_name)}</code>, student: "
            f"<code>{escape(pair.student_name)}</code>.</p>"
        )
        boxes = _boxes(served)
        button = gradio.Button("Compare", variant="primary")
        shown = gradio.HTML(elem_id="answers")
        asks = [button.click, *(box.submit for box in boxes)]
        gradio.on(asks, answer, boxes, shown, api_name="compare")
    return blocks


_TASKS = {
    "masked_lm": "Words for blanks",
    "sequence_classification": "Classes of texts",
    "token_classification": "Labels of words",
    "question_answering": "Answers from a text",
}


def _names(served: ServedModel) -> tuple[str, ...]:
    """Of a request's texts."""
    if served.task == "question_answering":
        return ("question", "context")
    return ("text", "text_pair") if served.task == "sequence_classification" else ("text",)


def _boxes(served: ServedModel) -> list[gradio.Textbox]:
    if served.task == "masked_lm":
        mask = served.tokenizer.special_tokens.mask
        example = f"Paris is the capital of {mask}."
        return [_box("Text", f"Write {mask} where a word is wanted.", example)]
    if served.task == "token_classification":
        return [_box("Text", "Its words are labelled.", "Angela lives in Berlin.")]
    if served.task == "question_answering":
        context = "The Seine flows through Paris, the Spree through Berlin."
        return [
            _box("Question", "What is to be found out?", "Which river flows through Berlin?"),
            _box("Context", "The text that holds the answer.", context),
        ]
    second = "Of models that compare two texts; else leave it empty."
    return [
        _box("Text", "What is to be classified.", "A gripping film."),
        _box("Second text", second),
    ]


def _box(label: str, hint: str, example: str = "") -> gradio.Textbox:
    # With one line to begin with, Enter asks; Shift and Enter makes a new line.
    return gradio.Textbox(example, label=label, info=hint, lines=1, max_lines=12)
