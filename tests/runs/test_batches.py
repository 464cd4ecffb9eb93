"""What the batches of a run hide: words where some term predicts them, nothing where none does."""

import numpy as np
import pytest

from support import tiny
from support.records import write_records
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.runs import batches
from tf_distilbert.runs.batches import masked_lm_batches

ALONE = {"distillation_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0}
LOSSES = {
    "relations": ({**ALONE, "relation_weight": 1.0}, False),
    "cosine": ({**ALONE, "cosine_weight": 1.0}, False),
    "masked LM": ({**ALONE, "mlm_weight": 1.0}, True),
    "distillation at all tokens": ({**ALONE, "distillation_weight": 1.0}, True),
}


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize(("loss", "hides"), LOSSES.values(), ids=list(LOSSES))
def test_words_are_hidden_only_to_be_predicted(tmp_path, monkeypatch, loss, hides, packing):
    records = write_records(tmp_path / "records", 24, shortest=4)
    sizes = {"vocabulary_size": len(records.vocabulary), "max_positions": records.sequence_length}
    teacher, student = tiny.model(**sizes), tiny.model(num_layers=2, **sizes)
    values = tiny.run_settings(tmp_path, "run", steps=3, global_batch_size=8)
    values["data"] = {
        **{"records": str(records.path), "validation_records": str(records.path)},
        **{"sequence_length": records.sequence_length, "packing": packing},
    }
    config = parse_config(DistillConfig, values | {"loss": loss})
    maskers = []

    class Masker(batches.TokenMasker):
        @classmethod
        def for_records(cls, *arguments, **options):
            maskers.append(super().for_records(*arguments, **options))
            return maskers[-1]

    monkeypatch.setattr(batches, "TokenMasker", Masker)
    made = masked_lm_batches(Distiller(teacher, student, **loss), records, records, config)
    mask_id = records.special_ids[-1]
    for inputs, _, weights in made.make_stream(0):
        assert bool(np.sum(inputs["token_ids"] == mask_id)) == hides
        assert bool(np.sum(weights)) == hides
    # The held-out text is read in the same way.
    assert [masker.rate > 0 for masker in maskers] == [hides, hides]
