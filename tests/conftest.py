"""What the tests share: a quiet TensorFlow with four devices, fixed seeds, real data, a run for
commands on bad input, the report of parity tests."""

import os
import re
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest
import tensorflow as tf
import yaml

import tf_distilbert
from support import tiny
from support.commands import run, tree

NUM_DEVICES = 4
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES,
)


@pytest.fixture(autouse=True)
def fixed_seed_and_precision():
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def shared():
    """The folder of real text and models, where there is one."""
    folder = os.environ.get("TF_DISTILBERT_SHARED")
    if not folder:
        pytest.skip("set TF_DISTILBERT_SHARED to the folder of real text and models")
    return Path(folder)


@pytest.fixture(params=[False, True], ids=["eager", "xla"])
def compiled(request):
    """Whether a loss is compiled by XLA."""
    return request.param


# Commands on bad input


@pytest.fixture
def refused(capsys):
    """Run a command that must fail; give its one line without the program's name.

    With `after_start` progress and figures may stand before it.
    """

    def check(*arguments, message, after_start=False):
        capsys.readouterr()
        assert run(*arguments) == 2
        printed = capsys.readouterr()
        assert after_start or printed.out == ""
        lines = printed.err.splitlines()
        assert "Traceback" not in "".join(lines)
        assert [line for line in lines if line.startswith("tf-distilbert: ")] == lines[-1:]
        assert after_start or len(lines) == 1, lines
        line = lines[-1].removeprefix("tf-distilbert: ")
        assert re.search(message, line), line
        return line

    return check


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, so that whatever is written is seen."""
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def refused_here(refused, place):
    """The same of a command that must not write."""

    def check(*arguments, message, after_start=False):
        before = tree(place)
        line = refused(*arguments, message=message, after_start=after_start)
        assert tree(place) == before
        return line

    return check


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "teacher"
    tf_distilbert.save_model(tiny.model(num_layers=2), folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tiny.write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture
def broken(teacher, tmp_path):
    """A copy of the teacher to break."""
    return shutil.copytree(teacher, tmp_path / "broken")


@pytest.fixture
def config(teacher, text, tmp_path):
    """A distillation of four steps into tmp_path/run."""
    values = {
        "teacher": str(teacher),
        "output": str(tmp_path / "run"),
        "data": {"text": [str(text)], "sequence_length": 16},
        "train": {
            "steps": 4,
            "global_batch_size": 4,
            "jit_compile": False,
            "checkpoint_every": 2,
            "log_every": 1,
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def finished(config, tmp_path):
    assert run("distill", config, "train.steps=2") == 0
    return tmp_path / "run"


# The report of parity tests


def pytest_addoption(parser):
    parser.addoption("--parity-report", metavar="FILE", help="write what parity tests measured")


def pytest_configure(config):
    if config.getoption("--parity-report"):
        config.pluginmanager.register(ParityReport(config), "parity-report")


class ParityReport:
    """Counts the parity suite's tests, so that a report never claims more than what ran."""

    def __init__(self, config):
        self.path = config.getoption("--parity-report")
        # A test named on the command line hides its neighbours: the suite's size is then unknown.
        self.whole = not any("::" in argument for argument in config.args)
        self.suite = set()
        self.outcomes = {}

    @pytest.hookimpl(tryfirst=True)  # before -k and -m take tests away
    def pytest_collection_modifyitems(self, items):
        self.suite = {item.nodeid for item in items if item.get_closest_marker("parity")}
        files = Path(__file__).parent.rglob("test_*.py")
        with_marker = {path for path in files if "mark.parity" in path.read_text("utf-8")}
        self.whole &= with_marker <= {item.path for item in items}

    def pytest_runtest_logreport(self, report):
        if report.nodeid in self.suite and (report.when == "call" or not report.passed):
            self.outcomes[report.nodeid] = report.outcome

    def closing_line(self):
        outcomes = list(self.outcomes.values())
        failed, skipped = outcomes.count("failed"), outcomes.count("skipped")
        ran = len(outcomes) - skipped
        if self.whole and ran == len(self.suite) and not failed:
            return f"All {ran} tests of the suite ran and passed."
        total = f"{len(self.suite)} " if self.whole else ""
        line = f"Not the whole: {ran} of the suite's {total}tests ran, {skipped} skipped"
        return f"{line}, {failed} failed." if failed else f"{line}."

    def pytest_terminal_summary(self, terminalreporter):
        parity = sys.modules.get("parity")
        if parity and self.outcomes:
            parity.write_report(self.path, self.closing_line())
            terminalreporter.write_line(f"parity report: {self.path}: {self.closing_line()}")
        else:
            terminalreporter.write_line(f"no parity test ran; {self.path} not written")
