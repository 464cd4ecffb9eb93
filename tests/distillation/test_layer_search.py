"""The search of layers: what is measured is what a student would be, and what is tried."""

from itertools import combinations

import keras
import numpy as np
import pytest

from support import tiny
from support.keras_nlp_objects import task
from tf_distilbert.distillation import layer_search
from tf_distilbert.distillation.layer_search import Trial, search_layers
from tf_distilbert.distillation.student import build_student
from tf_distilbert.distillation.student_shape import even_layer_map
from tf_distilbert.model_files.hf_weights import named_variables

SAMPLE = [tiny.batch(1, rows=8), tiny.batch(2, rows=5)]


def packed(batch):
    """Two sequences a row, of which the second ends with the row."""
    inputs, *targets = batch
    places = np.tile(np.arange(16), (len(inputs["token_ids"]), 1)).astype("int32")
    more = {"sequence_ids": (places >= 7).astype("int32"), "position_ids": places % 7}
    return ({**inputs, **more}, *targets)


def idle(model, *layers):
    """Let some layers pass on what they take: nothing is added, and normed again it is the same."""
    for name, variable in named_variables(model).items():
        of_idle_layer = any(name.startswith(f"encoder/block_{layer}/") for layer in layers)
        if name.endswith("_norm/gamma"):
            variable.assign(np.ones(variable.shape))
        elif name.endswith("_norm/beta") or (of_idle_layer and "output" in name):
            variable.assign(np.zeros(variable.shape))
    return model


def test_layers_that_do_nothing_are_left_out():
    teacher = idle(tiny.model(seed=1, num_layers=6), 1, 4)
    states = teacher.hidden_states(SAMPLE[0][0])
    for layer in range(6):  # or the example would be none
        difference = np.abs(np.array(states[layer + 1]) - states[layer]).max()
        assert difference < 1e-5 if layer in (1, 4) else difference > 0.1
    trials = search_layers(teacher, 4, even_layer_map(6, 4), SAMPLE)
    assert trials[0].layers == (0, 2, 3, 5)
    assert trials[0].agreement == 1.0 and abs(trials[0].cosine_loss) < 1e-6
    assert len(trials) == 15 and trials[1].score < 0.99
    # Deeper ones keep the layers that do something, and any of the others.
    deeper = search_layers(teacher, 5, even_layer_map(6, 5), SAMPLE)
    best = {trial.layers for trial in deeper if abs(trial.score - 1.0) < 1e-6}
    assert best == {(0, 1, 2, 3, 5), (0, 2, 3, 4, 5)} == {trial.layers for trial in deeper[:2]}


def by_hand(teacher, student, batches):
    """The share of same top answers, and the mean of 1 - cos, in float64."""
    same, distances = [], []
    for inputs, _, weights in batches:
        answers = [np.array(model(inputs)).argmax(-1) for model in (student, teacher)]
        same.append((answers[0] == answers[1])[weights > 0])
        ours, theirs = (
            np.float64(model.hidden_states(inputs)[-1])[inputs["padding_mask"]]
            for model in (student, teacher)
        )
        lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
        distances.append(1.0 - (ours * theirs).sum(-1) / lengths)
    return np.concatenate(same).mean(), np.concatenate(distances).mean()


MODELS = {
    "bert": (tiny.model, lambda batch: batch),
    "roberta, packed": (tiny.roberta, packed),
    "keras-nlp": (lambda seed, num_layers: task("Roberta", seed, num_layers=num_layers), None),
}


@pytest.mark.parametrize(("make", "change"), MODELS.values(), ids=MODELS)
def test_what_is_measured_is_the_student_that_is_built(make, change):
    teacher = make(seed=3, num_layers=3)
    batches = [change(batch) for batch in SAMPLE] if change else SAMPLE
    whole = build_student(teacher, 3) if change is None else teacher
    trials = search_layers(whole, 2, (0, 2), batches)
    assert len({trial.agreement for trial in trials}) > 1
    for trial in trials:
        student = build_student(teacher, layer_map=trial.layers)
        agreement, cosine_loss = by_hand(whole, student, batches)
        assert trial.agreement == pytest.approx(agreement, abs=1e-12)
        assert trial.cosine_loss == pytest.approx(cosine_loss, rel=1e-4)
        assert trial.score == trial.agreement - trial.cosine_loss
    found = build_student(teacher, 2, layer_map="auto", sample=iter(batches))
    best = build_student(teacher, layer_map=trials[0].layers)
    np.testing.assert_array_equal(tiny.weights(found), tiny.weights(best))


def test_all_maps_are_tried_where_they_are_few():
    teacher = tiny.model(seed=3, num_layers=4)
    for num_layers in (1, 2, 3, 4):
        # A first map that is none of these has no advantage.
        trials = search_layers(teacher, num_layers, (9,), SAMPLE[1:], most_trials=6)
        assert sorted(t.layers for t in trials) == list(combinations(range(4), num_layers))
        scores = [trial.score for trial in trials]
        assert scores == sorted(scores, reverse=True)
    [trial] = search_layers(teacher, 4, (0, 1, 2, 3), SAMPLE)
    assert trial.agreement == 1.0 and abs(trial.cosine_loss) < 1e-6


def scored(monkeypatch, score):
    """Search as by a score of maps; give what was tried, in order, and what was found."""
    asked = []

    def measure(layers):
        asked.append(layers)
        return Trial(layers, score(layers), 0.0)

    monkeypatch.setattr(layer_search, "_measure", lambda teacher, batches: measure)

    def search(depth, num_layers, **options):
        asked.clear()
        teacher = tiny.model(num_layers=depth, hidden_size=2, intermediate_size=2)
        start = even_layer_map(depth, num_layers)
        return asked, search_layers(teacher, num_layers, start, [], **options)

    return search


def differ_in_one(one, other):
    return len(set(one) - set(other)) == 1


def test_otherwise_neighbours_are_tried_until_none_is_better(monkeypatch):
    """Best is the map of low layers, which is several changes away."""
    asked, found = scored(monkeypatch, lambda layers: -sum(layers))(9, 4, most_trials=100)
    assert asked[0] == (0, 3, 5, 8) and found[0].layers == (0, 1, 2, 3)
    assert len(set(asked)) == len(asked) == len(found) <= 100
    assert all(list(layers) == sorted({*layers} & {*range(9)}) for layers in asked)
    # Each differs in one layer from one that was the best when it was tried.
    best = {asked[0]}
    for number, layers in enumerate(asked[1:], 1):
        assert any(differ_in_one(layers, each) for each in best), layers
        best.add(max(asked[: number + 1], key=lambda each: -sum(each)))
    # It ended with a map whose neighbours were all tried.
    neighbours = [x for x in combinations(range(9), 4) if differ_in_one(x, found[0].layers)]
    assert len(neighbours) == 20 and {*neighbours} <= {*asked}


def test_it_ends_at_once_where_nothing_is_better(monkeypatch):
    score = lambda layers: float(layers == (0, 3, 5, 8))  # noqa: E731
    asked, found = scored(monkeypatch, score)(9, 4, most_trials=100)
    assert found[0].layers == (0, 3, 5, 8) and len(asked) == 1 + 4 * 5
    # The nearest come first.
    moves = [max(abs(a - b) for a, b in zip(asked[0], x, strict=True)) for x in asked[1:5]]
    assert moves == [1, 1, 1, 1]


@pytest.mark.parametrize("most", [1, 2, 7, 21, 22, 64])
def test_no_more_are_tried_than_the_most(monkeypatch, most):
    asked, found = scored(monkeypatch, lambda layers: -sum(layers))(12, 6, most_trials=most)
    assert len(asked) == len(set(asked)) == len(found) == most
    assert found[0].score == max(-sum(layers) for layers in asked)


def test_the_default_is_at_most_64(monkeypatch):
    asked, _ = scored(monkeypatch, lambda layers: sum(layers))(12, 6)
    assert len(asked) == 64
    asked, _ = scored(monkeypatch, lambda layers: sum(layers))(8, 3)  # 56 maps in all
    assert sorted(asked) == list(combinations(range(8), 3))


def test_of_equals_the_first_is_taken():
    """All layers are one: whichever are taken, the numbers are the same bits."""
    teacher = tiny.model(seed=4, num_layers=8)
    variables = named_variables(teacher)
    for name, variable in variables.items():
        if name.startswith("encoder/block_"):
            variable.assign(variables[f"encoder/block_0/{name.split('/', 2)[2]}"])
    few = search_layers(teacher, 2, (0, 7), SAMPLE[1:], most_trials=28)
    assert len({trial.score for trial in few}) == 1
    others = [layers for layers in combinations(range(8), 2) if layers != (0, 7)]
    assert [trial.layers for trial in few] == [(0, 7), *others]
    many = search_layers(teacher, 2, (0, 7), SAMPLE[1:], most_trials=27)
    assert many[0].layers == (0, 7) and len(many) == 1 + 2 * 6
    assert many == search_layers(teacher, 2, (0, 7), SAMPLE[1:], most_trials=27)


@pytest.mark.parametrize(("advantage", "layers"), [(0.015, (0, 3)), (0.025, (1, 2))])
def test_the_first_map_is_kept_unless_another_is_clearly_better(monkeypatch, advantage, layers):
    scores = {(0, 3): 0.5, (1, 2): 0.5 + advantage, (0, 1): 0.5 + advantage / 2}
    _, found = scored(monkeypatch, lambda layers: scores.get(layers, 0.0))(4, 2)
    assert found[0].layers == layers
    rest = [trial.score for trial in found[1:]]
    assert rest == sorted(rest, reverse=True) and len(found) == 6


def test_the_first_sequences_of_the_sample_are_read():
    """64 at least, and whole batches."""
    teacher = tiny.model(seed=3, num_layers=3)
    batches = [tiny.batch(seed, rows=30) for seed in range(5)]
    found = search_layers(teacher, 1, (0,), batches)
    assert found == search_layers(teacher, 1, (0,), batches[:3])
    assert found != search_layers(teacher, 1, (0,), batches[:2])


def test_what_padding_holds_has_no_influence():
    teacher = tiny.model(seed=3, num_layers=3)
    tables = named_variables(teacher)["encoder/position_table"]
    inputs, *targets = tiny.batch(5)
    inputs["padding_mask"] = np.tile(np.arange(16) < 9, (8, 1))
    plain = search_layers(teacher, 2, (0, 2), [(inputs, *targets)])
    values = tables.numpy()
    values[9:] *= 100.0
    tables.assign(values)
    assert search_layers(teacher, 2, (0, 2), [(inputs, *targets)]) == plain


def test_in_bfloat16_equal_logits_are_no_agreement():
    """Near 10,000 it has multiples of 64, so that one answer would be every model's."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    teacher = tiny.model(seed=3, num_layers=3)
    plain = [trial.agreement for trial in search_layers(teacher, 2, (0, 2), SAMPLE[:1])]
    bias = named_variables(teacher)["head/output_bias"]
    bias.assign(bias + 1e4)
    assert len({*teacher(SAMPLE[0][0]).numpy().astype("f").argmax(-1).ravel()}) == 1
    assert [t.agreement for t in search_layers(teacher, 2, (0, 2), SAMPLE[:1])] == plain
    assert min(plain) < 0.7
