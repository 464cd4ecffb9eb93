"""Students of sentence encoders: what they start from, and which vectors they give."""

import numpy as np
import pytest

from support import tiny
from support.task_model import task_model
from tf_distilbert.distillation.student import build_student
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.models.sentence_encoder import SentenceEncoder

SETTINGS = {
    **{"pooling": "weightedmean", "normalize": True, "max_length": 20},
    **{"prompts": {"query": "the "}, "default_prompt": "query"},
}
INPUTS = tiny.batch()[0]


def teacher_of(family="roberta", **settings):
    # Half of a RoBERTa is a RoBERTa: with all layers it is the teacher itself.
    return task_model("embedding", family, **SETTINGS | settings)


def inputs_of(model):
    return INPUTS | {"token_ids": INPUTS["token_ids"] % model.architecture.vocabulary_size}


def vectors(model):
    return np.asarray(model(inputs_of(model)))


@pytest.mark.parametrize(
    "projection", [{}, {"projection_size": 5, "projection_activation": "tanh"}], ids=["", "dense"]
)
def test_with_all_layers_it_is_its_teacher(projection):
    teacher = teacher_of(**projection)
    student = build_student(teacher, 2)
    assert isinstance(student, SentenceEncoder) and student.settings == teacher.settings
    np.testing.assert_array_equal(vectors(student), vectors(teacher))


def test_half_a_bert_keeps_pooling_length_and_prompts():
    teacher = task_model("embedding", "bert", **SETTINGS)
    student = build_student(teacher, 1)
    assert (student.architecture.family, student.architecture.num_layers) == ("distilbert", 1)
    assert student.settings == teacher.settings and student.tokenizer is teacher.tokenizer


def sample(model):
    inputs, *others = tiny.batch()
    return [(inputs | {"token_ids": inputs["token_ids"]}, *others)]


def narrower(teacher, **options):
    return build_student(teacher, hidden_size=8, num_layers=2, sample=sample(teacher), **options)


def test_a_narrower_one_gives_vectors_of_the_teachers_size():
    teacher = teacher_of(normalize=False, pooling="mean")
    student = narrower(teacher)
    assert student.embedding_size == 16 and student.projection_size == 16
    # What was kept stands at its old place, the rest is 0.
    kernel, bias = (np.asarray(v.value) for v in student.head.weights)
    assert kernel.shape == (8, 16) and not bias.any()
    kept = kernel.argmax(axis=1)
    np.testing.assert_array_equal(kernel, np.eye(16)[kept])
    np.testing.assert_array_equal(kept, np.unique(kept))
    found = vectors(student)
    assert not np.delete(found, kept, axis=1).any()
    bare = narrower(teacher, keep_projection=False)
    assert bare.embedding_size == 8 and bare.head is None
    np.testing.assert_allclose(vectors(bare), found[:, kept], atol=1e-6)


def test_a_projection_is_cut_to_what_is_kept():
    teacher = teacher_of(projection_size=5)
    student = narrower(teacher)
    own, whole = (np.asarray(m.head.kernel) for m in (student, teacher))
    assert own.shape == (8, 5) and student.embedding_size == 5
    rows = [np.flatnonzero((whole == row).all(axis=1)) for row in own]
    assert all(len(found) == 1 for found in rows) and np.all(np.diff(np.concatenate(rows)) > 0)


def test_layers_are_searched_by_the_vectors():
    teacher = tiny.encoder("embedding", seed=3, num_layers=4, pooling="mean")
    student = build_student(teacher, 2, layer_map="auto", sample=sample(teacher))
    distances = {}
    for first in range(4):
        for second in range(first + 1, 4):
            other = build_student(teacher, 2, layer_map=[first, second])
            a, b = vectors(other).astype("float64"), vectors(teacher).astype("float64")
            cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            distances[first, second] = 1 - cosines.mean(), vectors(other)
    best = min(distances, key=lambda layers: distances[layers][0])
    np.testing.assert_array_equal(vectors(student), distances[best][1])


def test_a_folder_is_gone_on_with(tmp_path):
    teacher = teacher_of()
    before = build_student(teacher, 1)
    save_model(before, tmp_path / "first")
    again = build_student(teacher, initialize_from=str(tmp_path / "first"))
    np.testing.assert_array_equal(vectors(again), vectors(before))
