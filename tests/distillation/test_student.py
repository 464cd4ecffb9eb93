"""The student: size, layer map, what is copied, and what folding of type embeddings is for."""

import numpy as np
import pytest

from support import tiny
from tf_distilbert.distillation.student import build_student, even_layer_map
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel


def test_the_reference_layer_map():
    assert even_layer_map(12, 6) == [0, 2, 4, 7, 9, 11]


@pytest.mark.parametrize(
    ("teacher", "student", "layers"),
    [(4, 2, [0, 3]), (6, 3, [0, 2, 5]), (12, 1, [0]), (12, 12, list(range(12))), (24, 2, [0, 23])],
)
def test_other_layer_maps(teacher, student, layers):
    assert even_layer_map(teacher, student) == layers


def test_published_parameter_counts():
    uncased = Architecture(30522, num_layers=6, num_segments=0, family="distilbert")
    student = MaskedLanguageModel(uncased)
    assert student.count_params() == 66_985_530
    assert student.encoder.count_params() == 66_362_880


def test_published_parameter_count_of_distilroberta():
    roberta = Architecture(
        50265, num_layers=6, num_segments=1, reserved_positions=2, family="roberta"
    )
    assert MaskedLanguageModel(roberta).count_params() == 82_170_201


@pytest.mark.parametrize("fold_segments", [True, False])
def test_half_a_roberta_keeps_its_own_embeddings(fold_segments):
    sizes = {"family": "roberta", "num_segments": 1, "reserved_positions": 2}
    teacher = tiny.model(num_layers=4, layer_norm_epsilon=1e-5, **sizes)
    student = build_student(teacher, layer_map=[0, 1, 2, 3], fold_segments=fold_segments)
    assert student.architecture == teacher.architecture
    np.testing.assert_array_equal(tiny.weights(student), tiny.weights(teacher))


def test_every_weight_comes_from_its_teacher_layer():
    teacher = tiny.model(num_layers=4)
    student = build_student(teacher, layer_map=[1, 3], fold_segments=False)
    source = {name: v.numpy() for name, v in named_variables(teacher).items()}
    for name, variable in named_variables(student).items():
        teacher_name = name.replace("block_1/", "block_3/").replace("block_0/", "block_1/")
        np.testing.assert_array_equal(variable.numpy(), source[teacher_name], err_msg=name)
    assert not any("segment" in name for name in named_variables(student))


def test_a_full_copy_gives_exactly_the_teachers_hidden_states():
    teacher = tiny.model(num_layers=4)
    student = build_student(teacher, num_layers=4)
    inputs = tiny.batch()[0]
    pairs = zip(teacher.hidden_states(inputs), student.hidden_states(inputs), strict=True)
    for teacher_state, student_state in pairs:
        # Not bit for bit: (a + b) + c and a + (b + c) round differently.
        np.testing.assert_allclose(student_state, teacher_state, rtol=0, atol=5e-6)


def test_without_folding_the_first_hidden_state_differs():
    teacher = tiny.model(num_layers=4)
    student = build_student(teacher, num_layers=4, fold_segments=False)
    inputs = tiny.batch()[0]
    difference = student.hidden_states(inputs)[0] - teacher.hidden_states(inputs)[0]
    assert np.abs(difference).max() > 0.1


def test_random_initialisation_copies_nothing():
    teacher = tiny.model()
    student = build_student(teacher, initialize_from="random")
    table = named_variables(teacher)["encoder/token_table"].numpy()
    copied = named_variables(student)["encoder/token_table"].numpy()
    assert abs(np.corrcoef(table.ravel(), copied.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 5}, "student of 1 to 4"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"num_layers": 2, "layer_map": [0, 1, 2]}, "3 entries for 2 student layers"),
        ({"layer_map": [0, 4]}, "layer 4; the teacher has layers 0 to 3"),
        ({"layer_map": [-1, 2]}, "layer -1"),
        ({"initialize_from": "luck"}, "teacher or random"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        build_student(tiny.model(), **arguments)
