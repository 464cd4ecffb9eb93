"""Our own steps: each variant runs and learns."""

import numpy as np
import pytest

from support import tiny
from tf_distilbert.backend import devices
from tf_distilbert.benchmark import step
from tf_distilbert.benchmark.our_models import OurStep
from tf_distilbert.errors import UserError

TEACHER = tiny.architecture()
STUDENT = step.half_of(TEACHER)


@pytest.mark.slow
def test_our_step_runs_in_every_variant_and_learns():
    for competitor in step.step_competitors(TEACHER, STUDENT, 4, 16):
        if competitor.workload != "our_models:step":
            continue
        if competitor.arguments["precision"] == "mixed_bfloat16" and not devices.has_bfloat16():
            with pytest.raises(UserError, match="no bfloat16 instructions"):
                OurStep(**competitor.arguments)
        else:
            update = OurStep(**competitor.arguments)
            losses = [update() for _ in range(4)]
            assert np.isfinite(losses).all() and losses[-1] < losses[0], competitor.name
