"""The page: boxes for the texts of a task, a button, what the two models answer; and its server."""

import logging
from html import escape
from types import FrameType

import gradio
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tf_distilbert.demo.comparison import compare, comparison_html, error_html
from tf_distilbert.demo.form import HEADINGS, form_fields, read_form
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError

TITLE = "Teacher and student"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'self'"
)
"""The browser fetches nothing from elsewhere, whatever Gradio's files ask for."""

_CSS = """
#answers table { margin: 1rem 0; width: 100%; table-layout: fixed; }
#answers caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
#answers th, #answers td { overflow-wrap: anywhere; }
#answers .ranked thead td { width: 3rem; }
@media (max-width: 40rem) {
  #answers th, #answers td { padding-left: 0.375rem; padding-right: 0.375rem; }
  #answers .ranked thead td { width: 1.75rem; }
}
"""

# A screen reader says what appears there.
_SCRIPT = "() => document.getElementById('answers').setAttribute('aria-live', 'polite')"


def make_page(pair: ModelPair) -> FastAPI:
    """Make the page as a web application that sends nothing outside.

    Args:
        pair: the models that answer.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_KeepInside)
    return gradio.mount_gradio_app(
        app,
        _blocks(pair),
        path="/",
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=_theme(),
        css=_CSS,
        js=_SCRIPT,
    )


def _blocks(pair: ModelPair) -> gradio.Blocks:
    fields = form_fields(pair.teacher.served)

    def answer(*texts: str) -> str:
        try:
            return comparison_html(compare(pair, read_form(fields, texts)))
        except UserError as error:
            return error_html(str(error))

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gradio.HTML(
            f"<h1>{TITLE}</h1><p>{HEADINGS[pair.teacher.served.task]}. Teacher: "
            f"<code>{escape(pair.teacher_name)}</code>, student: "
            f"<code>{escape(pair.student_name)}</code>.</p>"
        )
        # With one line to begin with, Enter asks; Shift and Enter begins a new line.
        boxes = [
            gradio.Textbox(f.example, label=f.label, info=f.hint, lines=1, max_lines=12)
            for f in fields
        ]
        button = gradio.Button("Compare", variant="primary")
        shown = gradio.HTML(elem_id="answers")
        asks = [button.click, *(box.submit for box in boxes)]
        gradio.on(asks, answer, boxes, shown, api_name="compare")
    return blocks


def _theme() -> gradio.themes.Default:
    """Fonts that are on the reader's machine, and colours that can be read."""
    theme = gradio.themes.Default(
        primary_hue="blue",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_800",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
    )


class _KeepInside:
    """Sends the policy along with everything."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", CONTENT_SECURITY_POLICY.encode())
                message["headers"] = [*message["headers"], policy]
            await send(message)

        await self.app(scope, receive, send_with_policy)


GRACE_SECONDS = 1
"""How long an answer that is under way may take at the end."""


class Server(uvicorn.Server):
    """Ends without a word."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; that the streams of open pages break off is no error."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


def make_server(page: FastAPI) -> Server:
    """Make the server of a page; ``run(sockets=[...])`` it until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        page, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS, lifespan="on"
    )
    return Server(config)
