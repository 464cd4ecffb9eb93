"""Students that a teacher may have: sizes and products by hand, parameters of `transformers`."""

import pytest

from support import tiny
from support.commands import run
from tf_distilbert.benchmark.shapes import candidate_shapes
from tf_distilbert.config.models import StudentConfig
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model, save_model


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Of 6 layers, width 16 in 2 heads, 32 in between."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    save_model(tiny.model(num_layers=6), folder)
    return str(folder)


@pytest.fixture(scope="module")
def found(teacher):
    return candidate_shapes(teacher, sequence_length=16, rounds=1)


def test_depth_width_and_feed_forward_layer_are_cut(found):
    sizes = [
        (a.num_layers, a.hidden_size, a.num_heads, a.intermediate_size)
        for a in (shape.architecture for shape in found)
    ]
    assert sizes == [
        (6, 16, 2, 32),
        *[(6, 8, 1, 16), (3, 16, 2, 32), (3, 16, 2, 16), (3, 8, 1, 16)],
        *[(2, 16, 2, 32), (2, 16, 2, 16), (2, 8, 1, 16)],
    ]
    narrow = "student.hidden_size=8 student.num_heads=1 student.intermediate_size=16"
    assert [shape.settings for shape in found] == [
        "",
        f"student.num_layers=6 {narrow}",
        "student.num_layers=3",
        "student.num_layers=3 student.intermediate_size=16",
        f"student.num_layers=3 {narrow}",
        "student.num_layers=2",
        "student.num_layers=2 student.intermediate_size=16",
        f"student.num_layers=2 {narrow}",
    ]
    assert all(shape.milliseconds > 0 for shape in found)


def test_the_first_row_is_the_teachers(found):
    teacher = tiny.model(num_layers=6)
    assert found[0].architecture == teacher.architecture
    assert found[0].parameters == teacher.count_params()


@pytest.mark.parity
def test_parameters_are_those_of_transformers(found):
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    config = transformers.DistilBertConfig(
        vocab_size=len(tiny.VOCABULARY), max_position_embeddings=32, n_layers=3, dim=8, n_heads=1,
        hidden_dim=16,
    )  # fmt: skip
    assert found[4].parameters == transformers.DistilBertForMaskedLM(config).num_parameters()


def test_products_are_counted_by_hand(found):
    """Of 3 layers, width 8, 16 in between, 16 tokens: two operations for each number multiplied."""
    projections = 4 * (2 * 8 * 8)
    feed_forward = 2 * (2 * 8 * 16)
    scores_and_sums = 2 * (2 * 16 * 8)
    assert found[4].flops == 3 * (projections + feed_forward + scores_and_sums)


@pytest.mark.parametrize(
    ("hidden_size", "num_heads", "narrow"), [(24, 4, (12, 2)), (30, 3, (10, 1)), (14, 1, (14, 1))]
)
def test_a_narrow_student_has_half_the_heads_each_of_the_teachers_size(
    hidden_size, num_heads, narrow, tmp_path
):
    save_model(tiny.model(num_layers=1, hidden_size=hidden_size, num_heads=num_heads), tmp_path)
    found = candidate_shapes(str(tmp_path), sequence_length=8, rounds=1)[1].architecture
    assert (found.hidden_size, found.num_heads) == narrow


def test_the_settings_make_the_student(teacher, found):
    model = load_model(teacher)
    for shape in found[1:]:
        sizes = dict(setting.split("=") for setting in shape.settings.split())
        sizes = {name.removeprefix("student."): int(size) for name, size in sizes.items()}
        assert StudentConfig(**sizes)
        student = build_student(model, initialize_from="random", **sizes)
        assert student.architecture == shape.architecture
        assert student.count_params() == shape.parameters


def test_each_shape_of_a_small_teacher_comes_once(tmp_path):
    save_model(tiny.model(num_layers=2, hidden_size=1, num_heads=1), tmp_path)
    found = candidate_shapes(str(tmp_path), sequence_length=8, rounds=1)
    sizes = [(s.architecture.num_layers, s.architecture.intermediate_size) for s in found]
    assert sizes == [(2, 32), (2, 16), (1, 32), (1, 16)]


def test_half_a_roberta_is_a_roberta(tmp_path):
    save_model(tiny.roberta(), tmp_path)
    found = candidate_shapes(str(tmp_path), sequence_length=8, rounds=1)
    assert {shape.architecture.family for shape in found} == {"roberta"}


def test_the_table_has_a_row_each(teacher, capsys):
    assert run("shapes", "--teacher", teacher, "--sequence-length", 16) == 0
    *lines, empty, note = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert empty == "" and "`loss.cosine_weight=0 loss.relation_weight=3`" in note
    assert cells[0][5] == "ms for 16 tokens" and len(cells) == 2 + 8
    assert cells[2][-1] == "the teacher" and cells[4][-1] == "`student.num_layers=3`"
    assert [row[:3] for row in cells[2:4]] == [["6", "16", "32"], ["6", "8", "16"]]


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, r"^sequence_length is 0; give 1 or more$"),
        (33, r"^sequence_length is 33, the model has 32 positions; use 32 at most$"),
    ],
)
def test_lengths_that_no_text_has_are_refused(teacher, length, message):
    with pytest.raises(UserError, match=message):
        candidate_shapes(teacher, sequence_length=length)


def test_a_teacher_that_is_none_is_refused(refused_here):
    refused_here("shapes", "--teacher", "none", message=r"^none: no such model folder; give its")
