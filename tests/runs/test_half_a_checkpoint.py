"""A kill within the first checkpoint: the next run starts its student all the same."""

import shutil

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs.train import distill


@pytest.mark.parametrize("left", ["step-00000003.partial", "step-00000003.old"])
def test_what_is_left_of_a_checkpoint_is_none(left, tmp_path):
    save_model(tiny.model(), tmp_path / "teacher")
    tiny.write_text(tmp_path / "text.txt")
    values = tiny.run_settings(tmp_path, "run")
    model = distill(parse_config(DistillConfig, values), Console(quiet=True))
    expected = load_file(model / "model.safetensors")
    run = model.parent
    (run / "checkpoints" / "step-00000003").rename(run / "checkpoints" / left)
    shutil.rmtree(run / "checkpoints" / "step-00000006")
    shutil.rmtree(model)
    (run / "log.jsonl").unlink()
    values["train"]["resume"] = "auto"
    distill(parse_config(DistillConfig, values), Console(quiet=True))
    found = load_file(model / "model.safetensors")
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
