"""A new student against what the reference's extraction script puts into one, tensor for tensor."""

import numpy as np
import pytest

from support import parity
from support.parity import transformers
from tf_distilbert.distillation.student import build_student
from tf_distilbert.model_files.folder import load_model, save_model

pytestmark = pytest.mark.parity
SECTION = "Initialisation of the student"
AGAINST = "the reference's mapping"
TEACHER_LAYERS = (0, 2, 4, 7, 9, 11)
POSITIONS = "distilbert.embeddings.position_embeddings.weight"

# Of a layer, theirs after "bert.encoder.layer.K." to "distilbert.transformer.layer.I.".
LAYER = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def extract(teacher, vocab_transform):
    """The tensors of a student, by the reference's list, out of a BertForMaskedLM's."""
    made = {}
    for name in ("word_embeddings.weight", "position_embeddings.weight"):
        made[f"distilbert.embeddings.{name}"] = teacher[f"bert.embeddings.{name}"]
    for kind in ("weight", "bias"):
        name = f"embeddings.LayerNorm.{kind}"
        made[f"distilbert.{name}"] = teacher[f"bert.{name}"]
        for i, k in enumerate(TEACHER_LAYERS):
            for theirs, ours in LAYER.items():
                tensor = teacher[f"bert.encoder.layer.{k}.{theirs}.{kind}"]
                made[f"distilbert.transformer.layer.{i}.{ours}.{kind}"] = tensor
        made[f"vocab_projector.{kind}"] = teacher[f"cls.predictions.decoder.{kind}"]
        if vocab_transform:
            head = "cls.predictions.transform"
            made[f"vocab_transform.{kind}"] = teacher[f"{head}.dense.{kind}"]
            made[f"vocab_layer_norm.{kind}"] = teacher[f"{head}.LayerNorm.{kind}"]
    return {name: tensor.numpy() for name, tensor in made.items()}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    model = parity.bert(num_hidden_layers=12, hidden_size=16, intermediate_size=24)
    return model, load_model(parity.write_folder(tmp_path_factory.mktemp("teacher"), model))


def student_tensors(teacher, folder, **options):
    """All tensors of our student as `transformers` sees it, the tied projection included."""
    save_model(build_student(teacher, **options), folder)
    student = transformers.DistilBertForMaskedLM.from_pretrained(folder)
    return {name: tensor.numpy() for name, tensor in student.state_dict().items()}


def largest_difference(ours, theirs):
    return max(np.abs(ours[name] - theirs[name]).max() for name in theirs)


def test_the_student_is_the_references(teacher, tmp_path):
    """With the head's transform, which we always copy and they with --vocab_transform."""
    model, ours = teacher
    expected = extract(model.state_dict(), vocab_transform=True)
    made = student_tensors(ours, tmp_path, fold_segments=False)
    assert len(expected) == 106 and made.keys() == expected.keys()
    # Equal tensors in several layers would hide a wrong layer map.
    queries = [expected[f"distilbert.transformer.layer.{i}.attention.q_lin.bias"] for i in range(6)]
    assert len({q.tobytes() for q in queries}) == 6
    row = "each of 106 tensors, not folded, copied from layers 0, 2, 4, 7, 9, 11"
    parity.at_most(SECTION, row, AGAINST, largest_difference(made, expected), 0)
    without_transform = extract(model.state_dict(), vocab_transform=False)
    assert len(without_transform) == 102
    row = "the 102 of them that come without `--vocab_transform`"
    parity.at_most(SECTION, row, AGAINST, largest_difference(made, without_transform), 0)


def test_folding_adds_the_type_0_row_to_the_positions_and_nothing_else(teacher, tmp_path):
    model, ours = teacher
    tensors = model.state_dict()
    expected = extract(tensors, vocab_transform=True)
    expected[POSITIONS] = (
        expected[POSITIONS] + tensors["bert.embeddings.token_type_embeddings.weight"].numpy()[0]
    )
    made = student_tensors(ours, tmp_path)
    assert made.keys() == expected.keys()
    row = "each of 106 tensors, the type 0 row folded into the positions"
    parity.at_most(SECTION, row, AGAINST, largest_difference(made, expected), 0)


def test_the_first_hidden_state_of_a_folded_student_is_the_teachers(teacher, tmp_path):
    """What folding is for; in PyTorch, on our folder."""
    model, ours = teacher
    save_model(build_student(ours), tmp_path)
    student = transformers.DistilBertForMaskedLM.from_pretrained(tmp_path).eval()
    arguments = parity.to_torch(parity.random_batch(2, 4, 24))
    with parity.torch.no_grad():
        states = [
            m(**arguments, output_hidden_states=True).hidden_states[0].numpy()
            for m in (model, student)
        ]
    difference = np.abs(states[0] - states[1]).max()
    row = "embeddings of the folded student, in PyTorch"
    parity.at_most(SECTION, row, "its teacher's", difference, 5e-6)
