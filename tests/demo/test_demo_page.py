"""The demo's page: over HTTP for every task, from the command line to Ctrl-C, in a real browser."""

import asyncio
import gc
import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
import urllib.error
import urllib.request
import warnings
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from support import tiny
from support.commands import run
from support.task_model import LABELS, task_model
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.demo.start import listen, url_of
from tf_distilbert.exports.prediction import Predictor
from tf_distilbert.model_files.folder import save_model

# Gradio and what it stands on announce what will change in them.
pytestmark = pytest.mark.filterwarnings("ignore")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
pytest.importorskip("gradio", reason="pip install 'tf_distilbert[demo]'")

TASKS = {
    "masked_lm": {"text": "paris is the [MASK] of [MASK]"},
    "sequence_classification": {"text": "paris is old", "text_pair": "rome is old"},
    "token_classification": {"text": "Paris is old."},
    "question_answering": {"question": "the city ?", "context": "paris is a city"},
}


@pytest.fixture(autouse=True, scope="module")
def forget_event_loops():
    """Gradio leaves some open, which would be found, and complained about, in later tests."""
    yield
    asyncio.set_event_loop(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for task in TASKS:
        model = tiny.model(num_layers=2) if task == "masked_lm" else task_model(task)
        save_model(model, folder / task)
    return folder


@pytest.fixture(scope="module")
def pairs(folders):
    """For each task a model that is its own student."""
    return {task: ModelPair.load(str(folders / task), str(folders / task)) for task in TASKS}


@contextmanager
def served(pair):
    """Serve the page of two models; give its address."""
    from tf_distilbert.demo.page import make_page, make_server

    with listen("127.0.0.1", 0) as listener:
        server = make_server(make_page(pair))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


def ask(url, *texts):
    """Press the button as Gradio's clients do; give what appears below it."""
    call = f"{url}gradio_api/call/compare"
    body = json.dumps({"data": texts}).encode()
    request = urllib.request.Request(call, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=120) as stream:
        lines = stream.read().decode().splitlines()
    assert "event: complete" in lines, lines
    [shown] = json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))
    return shown


def rows(shown):
    """The text of every cell of the tables."""
    found = re.findall(r"<tr>(.*?)</tr>", shown)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in found]


@pytest.mark.parametrize("task", TASKS)
def test_the_page_answers_as_the_model_does(folders, pairs, task):
    request = TASKS[task]
    [answer] = Predictor(folders / task).predict([request])
    with served(pairs[task]) as url:
        with urllib.request.urlopen(url) as page:
            policy = page.headers["Content-Security-Policy"]
            content = page.read().decode()
        found = rows(ask(url, *request.values()))
    assert "default-src 'self'" in policy and "http" not in policy
    assert all(f'"label":"{label}"' in content for label in LABELS_OF_BOXES[task])
    cells = [(name, *cells) for name, *cells in found]
    if task == "masked_lm":
        words = [theirs.split()[0] for name, theirs, _ in cells if name.isdigit()]
        assert words == [*answer["tokens"][0], *answer["tokens"][1]]
    elif task == "sequence_classification":
        assert ("says", answer["label"], answer["label"]) in cells
        for label, share in zip(LABELS, answer["probabilities"], strict=True):
            [shown] = [theirs for name, theirs, _ in cells if name == label]
            assert float(shown.removesuffix(" %")) == pytest.approx(100 * share, abs=0.06)
    elif task == "token_classification":
        words = dict(zip(["Paris", "is", "old", "."], answer["labels"], strict=True))
        assert {n: theirs.rsplit(" ", 2)[0] for n, theirs, _ in cells if n in words} == words
    else:
        assert ("answer", answer["answer"], answer["answer"]) in cells
    [(_, teacher, student)] = [row for row in cells if row[0] == "ms"]
    assert float(teacher) > 0 and float(student) > 0


LABELS_OF_BOXES = {
    "masked_lm": ["Text"],
    "sequence_classification": ["Text", "Second text"],
    "token_classification": ["Text"],
    "question_answering": ["Question", "Context"],
}


def test_what_is_wrong_is_shown_in_the_page(pairs, capfd):
    with served(pairs["masked_lm"]) as url:
        shown = ask(url, "<b>paris</b>")
        assert shown == (
            '<p role="alert">&#x27;&lt;b&gt;paris&lt;/b&gt;&#x27;: has no [MASK] to fill</p>'
        )
        # It goes on.
        assert ">ms</th>" in ask(url, "[MASK]")
    assert "Traceback" not in capfd.readouterr().err


# From the command line

CONNECTIONS: list[str] = []


def note_connection(event, arguments):
    if event == "socket.connect":
        CONNECTIONS.append(arguments[1])
    elif event == "socket.getaddrinfo":
        CONNECTIONS.append(arguments[:2])


def free_port():
    with listen("127.0.0.1", 0) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def control_c():
    """Let SIGINT interrupt, which whoever starts a process in the background takes away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_from_the_command_line_to_control_c(folders, control_c, capfd):
    """It answers, sends nothing outside, and ends without a word of anything but that."""
    port, shown = free_port(), []
    url = f"http://127.0.0.1:{port}/"

    def use_it():
        try:
            # Waits until it is served: the port is taken before the models are loaded.
            for _ in range(600):
                try:
                    urllib.request.urlopen(url, timeout=120).close()
                    break
                except urllib.error.URLError:
                    threading.Event().wait(0.1)
            shown.append(ask(url, "paris is [MASK]"))
            # An open page listens to this without an end.
            stream = urllib.request.urlopen(f"{url}gradio_api/heartbeat/x", timeout=120)
            shown.append(stream.readline())
        finally:
            control_c()

    sys.addaudithook(note_connection)
    CONNECTIONS.clear()
    level = logging.getLogger("uvicorn.error").level
    user = threading.Thread(target=use_it)
    user.start()
    models = ("--teacher", folders / "masked_lm", "--student", folders / "masked_lm")
    try:
        assert run("demo", *models, "--port", port) == 130
    finally:
        user.join()
        logging.getLogger("uvicorn.error").setLevel(level)
    assert ">ms</th>" in shown[0] and shown[1].startswith(b"data:")
    printed = capfd.readouterr()
    assert printed.out == f"{url} (open to this one); Ctrl-C stops it\n"
    assert printed.err.splitlines()[-1:] == ["tf-distilbert: stopped"]
    assert "Traceback" not in printed.err and "ERROR" not in printed.err
    hosts = {address[0] for address in CONNECTIONS if isinstance(address, tuple)}
    assert hosts == {"127.0.0.1"}


def test_a_port_in_use_is_one_line(folders, refused):
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        models = ("--teacher", folders / "masked_lm", "--student", folders / "masked_lm")
        message = rf"127.0.0.1:{port}: cannot be used \(.*in use.*\); give another --port or --host"
        refused("demo", *models, "--port", port, message=message)


# In a browser


@pytest.fixture
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install 'tf_distilbert[browser]'"
    )
    program = shutil.which("chromium")
    if not program:
        pytest.skip("no chromium on the PATH; apt install chromium")
    with playwright.sync_playwright() as driver:
        # Its sandbox cannot be had by root, as whom CI runs.
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = started.new_context()
        context.set_default_timeout(120_000)  # of a busy machine
        yield context
        started.close()


def test_in_a_browser_by_keyboard_alone(folders, pairs, browser):
    with served(pairs["masked_lm"]) as url:
        page = browser.new_page()
        requested, problems = [], []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else 0)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        box = page.get_by_label("Text")
        box.wait_for()
        assert page.title() == "Teacher and student"
        assert box.input_value() == "Paris is the capital of [MASK]."

        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("paris is [MASK]")
        page.keyboard.press("Enter")
        answers = page.get_by_role("table", name="[MASK]")
        answers.wait_for()
        [answer] = Predictor(folders / "masked_lm").predict([{"text": "paris is [MASK]"}])
        first = answers.get_by_role("row").nth(1).get_by_role("cell").all_inner_texts()
        assert [cell.split()[0] for cell in first] == [answer["tokens"][0][0]] * 2
        latency = page.get_by_role("table", name="Latency").get_by_role("row").nth(1)
        assert re.fullmatch(r"ms\s+[\d.]+\s+[\d.]+", latency.inner_text())
        # A screen reader is told of what appears.
        assert page.locator("#answers").get_attribute("aria-live") == "polite"

        # Without a mask, and with the button.
        page.keyboard.press("Control+A")
        page.keyboard.type("paris")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Compare"
        page.keyboard.press("Enter")
        alert = page.get_by_role("alert").filter(has_text="'paris': has no [MASK] to fill")
        alert.wait_for()
        assert not answers.is_visible()
    hosts = {urlsplit(address).hostname for address in requested}
    assert hosts == {"127.0.0.1"} and len(requested) > 10
    assert problems == []


def test_on_a_phone_words_have_the_room_and_stay_whole(pairs, browser):
    with served(pairs["masked_lm"]) as url:
        page = browser.new_page()
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(url)
        page.get_by_role("button", name="Compare").click()
        answers = page.get_by_role("table", name="[MASK]")
        answers.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        width = answers.bounding_box()["width"]
        rank, teacher, student = (
            cell.bounding_box()
            for cell in answers.get_by_role("row").nth(1).locator("th, td").all()
        )
        assert rank["width"] < 0.1 * width < 0.4 * width < teacher["width"]
        assert student["width"] == pytest.approx(teacher["width"], abs=1)
        # A line of a cell, and no more: its words are not broken.
        latency = page.get_by_role("table", name="Latency").get_by_role("row")
        heights = [row.bounding_box()["height"] for row in latency.all()]
        assert max(heights) < 1.2 * min(heights)


def test_every_box_has_a_label(pairs, browser):
    with served(pairs["question_answering"]) as url:
        page = browser.new_page()
        page.goto(url)
        page.get_by_label("Question").fill("the city ?")
        page.get_by_label("Context").fill("paris is a city")
        page.get_by_role("button", name="Compare").click()
        page.get_by_role("table", name="Answer").wait_for()
        assert page.get_by_role("textbox").count() == 2
