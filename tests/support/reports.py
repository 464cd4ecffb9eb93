"""A run to report on, and its page, that the tests of the report share."""

import json
import shutil

from rich.console import Console

from support import tiny
from support.html_page import Page
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.finetuning.retention_table import summarise
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.report.reporter import write_report
from tf_distilbert.runs.train import distill

QUIET = Console(quiet=True)
SCORES = {"teacher": {"sst2": [0.9, 0.8]}, "triple loss": {"sst2": [0.8, 0.82]}}


def finish_run(folder):
    """A finished run in ``run``, with teacher and text beside it."""
    save_model(tiny.model(num_layers=2), folder / "teacher")
    tiny.write_text(folder / "text.txt", documents=12)
    distill(parse_config(DistillConfig, tiny.run_settings(folder, "run")), QUIET)
    (folder / "run" / "retention").mkdir()
    summary = json.dumps(summarise(SCORES, {}))
    (folder / "run" / "retention" / "retention.json").write_text(summary)
    return folder


def without_model(folder, tmp_path, name="unfinished"):
    """A copy of the run as it was before its end."""
    copy = shutil.copytree(folder / "run", tmp_path / name)
    shutil.rmtree(copy / "model")
    shutil.rmtree(copy / "retention")
    return copy


def report(tmp_path, *folders):
    return Page(write_report(folders, tmp_path / "report.html", QUIET).read_text("utf-8"))
