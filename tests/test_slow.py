"""What takes minutes: the quickstart's promise, and the memory of a BERT-base step."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tf_distilbert.assets import asset
from tf_distilbert.evaluation.fill_mask import fill_mask
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model
from tf_distilbert.quickstart import quickstart
from tf_distilbert.sample.corpus import PROMPTS

pytestmark = pytest.mark.slow

BERT_BASE_STEP = """
import resource
import numpy as np
import tensorflow as tf
from tf_distilbert import AdamW, Architecture, Distiller, MaskedLanguageModel, build_student

teacher = MaskedLanguageModel(Architecture(30522))
distiller = Distiller(teacher, build_student(teacher))
distiller.compile(AdamW(5e-4, clip_norm=5.0))
generator = np.random.default_rng(0)
inputs = {
    "token_ids": generator.integers(1000, 30000, (8, 128)).astype("int32"),
    "padding_mask": np.ones((8, 128), bool),
    "mask_positions": np.tile(np.arange(20, dtype="int32"), (8, 1)),
}
batch = inputs, generator.integers(1000, 30000, (8, 20)).astype("int32"), np.ones((8, 20), "f4")
distiller.fit(tf.data.Dataset.from_tensors(batch).repeat(4), verbose=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_bert_base_step_runs_in_under_5_gb():
    result = subprocess.run(
        [sys.executable, "-c", BERT_BASE_STEP], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) * 1024 < 5e9


@pytest.mark.long
def test_the_profile_of_a_step_adds_up():
    script = Path(__file__).parent.parent / "tools" / "profile_step.py"
    result = subprocess.run(
        [sys.executable, str(script), "--quick"], capture_output=True, text=True, check=True
    )
    shares = dict(re.findall(r"\| (.+?) \| [\d,]+ \| (\d+)% \|", result.stdout))
    whole = int(shares.pop("all"))
    assert whole == 100
    assert {"products of matrices", "Adam", "random numbers of dropout"} <= shares.keys()
    # The last kind is the rest. Were anything counted twice, it would be negative, and no match.
    assert sum(map(int, shares.values())) == pytest.approx(whole, abs=6)


def test_the_quickstart_keeps_97_percent(tmp_path):
    """Of the run in TF_DISTILBERT_QUICKSTART, where that is set: it takes minutes."""
    folder = os.environ.get("TF_DISTILBERT_QUICKSTART")
    if folder:
        teacher = load_model(asset("saved_models/sample_teacher"))
        student = load_model(Path(folder) / "model")
        figures = evaluate(student, "sample:validation", teacher, sequence_length=64)
    else:
        figures = quickstart(tmp_path / "run", Console(record=True, quiet=True))
    assert figures["retention"] >= 0.97
    assert figures["teacher_accuracy"] > 0.8


def test_the_sample_teacher_knows_the_prompts():

    teacher = load_model(asset("saved_models/sample_teacher"))
    answers = fill_mask(teacher, [prompt for prompt, _ in PROMPTS], top_k=1)
    right = [
        blanks[0][0].token == answer for blanks, (_, answer) in zip(answers, PROMPTS, strict=True)
    ]
    assert sum(right) >= 0.8 * len(PROMPTS)
