"""What all tests share: a quiet TensorFlow with four devices, fixed seeds, real data, the report of
parity tests."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest
import tensorflow as tf

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
        files = Path(__file__).parent.glob("test_*.py")
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
