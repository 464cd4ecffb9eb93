"""A run that keeps a moving average of the weights: that is what it validates and saves."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.train import distill


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("average")
    save_model(tiny.model(num_layers=2), folder / "teacher")
    tiny.write_text(folder / "text.txt", documents=12)
    return folder


def run(folder, output, **train):
    settings = {"checkpoint_every": 1, "keep_checkpoints": 9, "learning_rate": 1e-2, **train}
    distill(parse_config(DistillConfig, tiny.run_settings(folder, output, **settings)))
    return folder / output


def tensors(run, step, kind):
    """The weights, or the averages, of a checkpoint in the order of the weights."""
    found = load_file(run / "checkpoints" / f"step-{step:08d}" / "tensors.safetensors")
    model = [name for name in found if name.startswith("model/")]
    own = {int(n.split("/")[1]): v for n, v in found.items() if n.endswith(f"/{kind}")}
    if kind == "average":
        return [own[i] for i in sorted(own)]
    return [found[n] for n in sorted(model, key=lambda n: int(n.split("/")[1])) if "seed" not in n]


@pytest.mark.slow
def test_the_average_is_validated_saved_and_resumed(folder):
    whole = run(folder, "whole", ema_momentum=0.6)
    raw = [tensors(whole, step, "weights") for step in range(1, 7)]
    expected = raw[0]
    for weights in raw[1:]:
        pairs = zip(expected, weights, strict=True)
        expected = [0.6 * average + 0.4 * value for average, value in pairs]
    kept = tensors(whole, 6, "average")
    model = load_model(whole / "model")
    for average, value, in_file in zip(kept, expected, model.trainable_variables, strict=True):
        np.testing.assert_allclose(average, value, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(in_file.numpy(), average)
    assert max(np.abs(a - b).max() for a, b in zip(kept, raw[-1], strict=True)) > 1e-3

    trainer = Distiller(load_model(folder / "teacher"), model)
    trainer.compile("sgd")
    held_out = Records.open(next((folder / "whole-data").glob("validation-*")))
    batches = evaluation_dataset(held_out, TokenMasker.for_records(held_out), 8)
    found = trainer.evaluate(batches, verbose=0, return_dict=True)
    last = read_log(whole, "validation")[-1]
    assert last["step"] == 6
    assert found["loss"] == pytest.approx(last["loss"], rel=1e-6)

    # Made again from its checkpoints, and from none of them.
    for step in (4, 5, 6):
        (whole / "checkpoints" / f"step-{step:08d}").rename(folder / f"away-{step}")
    for _ in range(2):
        run(folder, "whole", ema_momentum=0.6, resume="auto")
        saved = load_model(whole / "model").trainable_variables
        for now, before in zip(saved, kept, strict=True):
            np.testing.assert_array_equal(now.numpy(), before)
