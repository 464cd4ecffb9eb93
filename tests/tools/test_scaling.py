"""The scaling estimate says what the code says, and its tables are those of its tool."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from tf_distilbert.benchmark.flops import step_flops
from tf_distilbert.benchmark.step import half_of
from tf_distilbert.config.file import load_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
TINY = Architecture(90, hidden_size=24, num_layers=4, num_heads=3, intermediate_size=40)


@pytest.fixture(autouse=True, scope="module")
def tools():
    """Let the tools be imported, which find each other in their own folder."""
    sys.path.insert(0, str(ROOT / "tools"))
    yield
    sys.path.remove(str(ROOT / "tools"))


@pytest.fixture
def model():
    import scaling_model

    return scaling_model


def test_the_tables_are_what_the_tool_makes():
    from measure_scaling import read_measured, with_tables

    assert with_tables(DOCUMENT, read_measured()) == DOCUMENT


def test_another_measurement_makes_other_tables():
    from measure_scaling import read_measured, with_tables

    more = dataclasses.replace(read_measured(), bfloat16_bytes_per_sequence=1e9)
    assert with_tables(DOCUMENT, more) != DOCUMENT


def test_a_table_without_a_place_is_refused():
    from measure_scaling import read_measured, with_tables

    with pytest.raises(SystemExit, match="memory"):
        with_tables(DOCUMENT.replace("<!-- table: memory -->", ""), read_measured())


@pytest.mark.parametrize("architecture", [TINY, half_of(TINY)], ids=["bert", "distilbert"])
def test_weights_are_counted_as_the_model_has_them(model, architecture):
    assert model.count_parameters(architecture) == MaskedLanguageModel(architecture).count_params()


def test_the_document_has_the_counted_weights_and_bytes(model):
    student, teacher = map(model.count_parameters, (model.STUDENT, model.TEACHER))
    assert (student, teacher) == (66_985_530, 109_514_298)
    for number in (student, teacher, model.gradient_bytes()):
        assert f"{number:,}" in DOCUMENT


@pytest.mark.parametrize("sequences", [2, 9])
def test_the_formula_counts_the_products_in_the_graph(sequences):
    """With 9 sequences there are three chunks, each a multiple of a block, so none is filled up."""
    from count_products import count_products

    pair = TINY, half_of(TINY)
    assert count_products(*pair, sequences, 128) == step_flops(*pair, sequences, 128)


def test_the_parts_of_the_arithmetic_are_the_whole(model):
    parts = model.parts_of_arithmetic()
    assert sum(parts.values()) * 4000 * 512 == model.update_flops(4000)


def test_a_checkpoint_holds_what_is_counted(model):
    from measure_scaling import read_measured

    extra = read_measured().checkpoint_bytes - model.checkpoint_bytes()
    assert 0 < extra < 1e-3 * model.checkpoint_bytes()


def test_the_estimate_is_for_the_recipe(model):
    config = load_config(DistillConfig, ROOT / "configs" / "distilbert-base-uncased.yaml")
    assert config.train.global_batch_size == model.GLOBAL_BATCH
    assert config.data.sequence_length == model.SEQUENCE_LENGTH
    assert config.train.epochs == model.EPOCHS
    assert config.student.num_layers == model.STUDENT.num_layers
    assert config.loss.chunk_size == model.CHUNK_SIZE


def test_every_device_gets_the_same_number_of_sequences(model):
    assert [model.global_batch(count) for count in (1, 8, 64)] == [4000, 4000, 4096]


def test_micro_batches_fit_and_divide(model):
    for device in model.DEVICES:
        for count in (1, 8, 64):
            size = model.micro_batch(device, count, 4e8)
            assert model.global_batch(count) // count % size == 0
            held = sum(model.fixed_memory().values()) + size * 4e8
            assert held <= model.MEMORY_SHARE * device.memory
    assert model.micro_batch(model.DEVICES[-1], 8, 1e12) is None


def test_a_ring_of_one_sends_nothing_and_a_large_one_twice_the_gradient(model):
    assert model.ring_bytes(1) == 0
    assert model.ring_bytes(8) == 1.75 * model.gradient_bytes()
    assert model.ring_bytes(10**9) == pytest.approx(2 * model.gradient_bytes())


def test_only_several_hosts_use_the_network(model):
    device = model.DEVICES[0]
    slow, fast = (
        [model.estimate(device, count, 4e8, network_bits=bits).between_hosts for count in (8, 64)]
        for bits in (1e11, 4e11)
    )
    assert slow[0] == fast[0] == 0
    assert slow[1] == pytest.approx(4 * fast[1])


def test_assumptions_that_are_referred_to_are_listed():
    text, _, assumptions = DOCUMENT.partition("## Assumptions")
    listed = set(re.findall(r"^(\d+)\. ", assumptions, re.MULTILINE))
    referred = set(re.findall(r"\[(\d+)\]", text)) | set(
        re.findall(r"# \[(\d+)\]", (ROOT / "tools" / "scaling_model.py").read_text("utf-8"))
    )
    assert listed == {str(i) for i in range(1, 12)}
    assert referred <= listed
