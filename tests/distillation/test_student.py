"""The student: shape, layer map, what is copied, what folding is for, and the folder it makes."""

import numpy as np
import pytest

from support import tiny
from tf_distilbert.distillation import student as student_module
from tf_distilbert.distillation.student import build_student
from tf_distilbert.distillation.student_shape import even_layer_map
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.fill_mask import fill_mask
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder_model import EncoderModel
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


def test_a_student_that_is_there_already_is_taken_as_it_is(tmp_path):
    """Whatever its depth and its sizes; nothing comes from the teacher, fold_segments or not."""
    sizes = {"family": "distilbert", "num_segments": 0, "layer_norm_epsilon": 1e-12}
    first = tiny.model(seed=3, num_layers=3, hidden_size=24, max_positions=48, **sizes)
    save_model(first, tmp_path / "first")
    for fold_segments in (True, False):
        student = build_student(
            tiny.model(), fold_segments=fold_segments, initialize_from=str(tmp_path / "first")
        )
        assert student.architecture == first.architecture
        assert student.tokenizer.sha256 == first.tokenizer.sha256
        np.testing.assert_array_equal(tiny.weights(student), tiny.weights(first))


def test_a_folder_of_another_task_is_refused(tmp_path):
    save_model(EncoderModel(tiny.architecture(), tiny.tokenizer()), tmp_path / "encoder")
    with pytest.raises(UserError, match=r"student\.initialize_from: .*encoder.*head") as caught:
        build_student(tiny.model(), initialize_from=str(tmp_path / "encoder"))
    assert "\n" not in str(caught.value)


def test_a_preset_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(student_module, "load_model", lambda path: object())
    with pytest.raises(UserError, match=r"from: keras_nlp://a: a keras-nlp preset cannot be tr"):
        build_student(tiny.model(), initialize_from="keras_nlp://a")


SIZES = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 20}
NAMES = {
    "distilbert": {"hidden_size": "dim", "num_heads": "n_heads", "intermediate_size": "hidden_dim"},
    "roberta": {"num_heads": "num_attention_heads"},
}


@pytest.mark.parity
@pytest.mark.parametrize("family", NAMES)
def test_transformers_opens_narrower_ones_and_computes_the_same(tmp_path, family):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    make = tiny.roberta if family == "roberta" else tiny.model
    teacher = make(seed=1, hidden_size=24, num_heads=3)
    student = build_student(teacher, 2, sample=[tiny.batch()], **SIZES)
    save_model(student, tmp_path / "model")
    kind = {"distilbert": "DistilBertForMaskedLM", "roberta": "RobertaForMaskedLM"}[family]
    theirs = getattr(transformers, kind).from_pretrained(tmp_path / "model").eval()
    for name, size in SIZES.items():
        assert getattr(theirs.config, NAMES[family].get(name, name)) == size
    assert sum(p.numel() for p in theirs.parameters()) == student.count_params()
    inputs = tiny.batch(seed=2)[0]
    ids = np.where(inputs["padding_mask"], inputs["token_ids"], student.tokenizer.pad_id)
    with torch.no_grad():
        logits = theirs(
            torch.tensor(ids).long(), torch.tensor(inputs["padding_mask"]).long()
        ).logits.numpy()
    expected = np.take_along_axis(logits, inputs["mask_positions"][..., None], axis=1)
    assert expected.std() > 0.1
    np.testing.assert_allclose(student(inputs), expected, rtol=0, atol=1e-4)
    again = load_model(tmp_path / "model")
    assert again.architecture == student.architecture
    np.testing.assert_array_equal(tiny.weights(again), tiny.weights(student))
    # What people do with it.
    tokenizer = student.tokenizer
    sentence = f"the city is {tokenizer.special_tokens.mask} ."
    [[[guess, *_]]] = fill_mask(again, sentence)
    ids = tokenizer.encode(sentence)
    place = list(ids).index(tokenizer.mask_id)
    with torch.no_grad():
        answers = theirs(torch.tensor([list(ids)])).logits[0, place].softmax(-1)
    assert guess.probability == pytest.approx(float(answers.max()), rel=1e-4)
    text = str(tiny.write_text(tmp_path / "text.txt", documents=6))
    figures = evaluate(again, text, teacher, sequence_length=16)
    assert "cosine" not in figures and 0 <= figures["agreement"] < 1
    assert figures["predictions"] > 0 and np.isfinite(figures["loss"])


WIDER = r"the teacher's is {}; a student that starts from its teacher is no wider: give less, or st"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 5}, "student of 1 to 4"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"num_layers": 2, "layer_map": [0, 1, 2]}, "3 entries for 2 student layers"),
        ({"layer_map": [0, 4]}, "layer 4; the teacher has layers 0 to 3"),
        ({"layer_map": [-1, 2]}, "layer -1"),
        (
            {"layer_map": "best"},
            r"^student\.layer_map is best; it must be layers of the teacher, au",
        ),
        (
            {"layer_map": "auto", "initialize_from": "random"},
            r"random, which takes no layer; remov",
        ),
        ({"layer_map": "auto", "num_layers": 5}, "student of 1 to 4"),
        ({"layer_map": "auto"}, "^a narrower student, and layer_map auto, need text to choose by;"),
        ({"hidden_size": 0}, r"^student\.hidden_size is 0; give 1 or more$"),
        ({"num_heads": 0}, r"^student\.num_heads is 0; give 1 or more$"),
        ({"intermediate_size": 0}, r"^student\.intermediate_size is 0; give 1 or more$"),
        ({"hidden_size": -8}, r"^student\.hidden_size is -8; give 1 or more$"),
        ({"num_heads": -2}, r"^student\.num_heads is -2; give 1 or more$"),
        ({"hidden_size": 32}, r"^student\.hidden_size is 32, " + WIDER.format(16)),
        ({"num_heads": 4}, r"^student\.num_heads is 4, " + WIDER.format(2)),
        ({"intermediate_size": 33}, r"^student\.intermediate_size is 33, " + WIDER.format(32)),
        (
            {"hidden_size": 12},
            r"_size is 12, no multiple of the teacher's head size 8; give a mult",
        ),
        (
            {"hidden_size": 4},
            r"_size is 4, no multiple of the teacher's head size 8; give a multip",
        ),
        (
            {"num_heads": 1},
            r"_heads is 1, but a start from .* of its size 8; give student\.num_he.*=2",
        ),
        (
            {"hidden_size": 8, "num_heads": 2},
            r"needs heads of its size 8; give student\.num_heads=1",
        ),
        (
            {"hidden_size": 10, "num_heads": 4, "initialize_from": "random"},
            r"^student\.hidden_size 10 is no multiple of student\.num_heads 4; change one of them$",
        ),
        ({"initialize_from": "luck"}, r"initialize_from: luck: no such model folder; give its"),
        ({"initialize_from": "f", "num_layers": 2}, r"num_layers is given, but the model of stud"),
        ({"initialize_from": "f", "layer_map": [0]}, r"layer_map is given, but .*; remove one$"),
        ({"initialize_from": "f", "layer_map": "auto"}, r"layer_map is given, but .*; remove one$"),
        ({"initialize_from": "f", "hidden_size": 8}, r"hidden_size is given, but .*; remove one$"),
        ({"initialize_from": "f", "num_heads": 0}, r"num_heads is given, but .*; remove one$"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        build_student(tiny.model(), **arguments)
    assert "\n" not in str(caught.value)


def test_what_is_advised_is_possible():
    """Each setting that a message above names."""
    teacher, sample = tiny.model(), [tiny.batch()]
    for given in ({"hidden_size": 8, "num_heads": 1}, {"hidden_size": 16, "num_heads": 2}):
        assert build_student(teacher, sample=sample, **given).architecture.head_size == 8
    random = {"initialize_from": "random"}
    for given in ({"hidden_size": 32}, {"hidden_size": 12}, {"num_heads": 4}, {"hidden_size": 4}):
        shape = build_student(teacher, **given, **random).architecture
        assert given.items() <= {name: getattr(shape, name) for name in given}.items()
