"""``demo``: load both models, serve the page until Ctrl-C."""

import os

from tf_distilbert.demo.comparison import compare
from tf_distilbert.demo.form import form_fields, read_form
from tf_distilbert.demo.listener import is_open_to_others, listen, url_of
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.exports.optional_package import explain_missing


def demo(
    teacher: str,
    student: str,
    *,
    task: str | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
) -> None:
    """Serve a page that shows what teacher and student answer, until Ctrl-C.

    Args:
        teacher, student: model folders or exports, as `Predictor` takes them.
        task: the head to be used, of model folders; see `load_task_model`.
        host: the address to listen at; by default only this machine reaches it.
        port: the port there.

    Raises:
        UserError: Gradio is not installed, the address cannot be used, the models cannot be loaded
            or do not go together.
    """
    # Read by Gradio as it is imported; the page says it once more.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    with explain_missing("demo"):
        import gradio  # noqa: F401

        from tf_distilbert.demo.page import make_page
        from tf_distilbert.demo.web_server import make_server

    # Before the models are loaded, which may take a while.
    with listen(host, port) as listener:
        pair = ModelPair.load(teacher, student, task)
        fields = form_fields(pair.teacher.served)
        compare(pair, read_form(fields, [field.example for field in fields]))  # compiles
        server = make_server(make_page(pair))
        open_to = "all machines that reach this one" if is_open_to_others(listener) else "this one"
        print(f"{url_of(listener)} (open to {open_to}); Ctrl-C stops it", flush=True)
        server.run(sockets=[listener])
