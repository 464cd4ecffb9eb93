"""Narrower students: what is ranked, what is kept, and that the copy is exact where it can be."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.encoder_reference import encode, importance
from support.keras_nlp_objects import task
from tf_distilbert.distillation.narrowing import measure_importance
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.hf_weights import named_variables

# Three heads of 8.
SIZES = {"hidden_size": 24, "num_heads": 3, "intermediate_size": 40, "num_layers": 3}
MODELS = {"bert": tiny.model, "roberta": tiny.roberta}


def best(worth, number):
    """The places of the largest, in order."""
    ranked = sorted(range(len(worth)), key=lambda i: -worth[i])
    last, first_lost = worth[ranked[number - 1]], worth[ranked[number]]
    assert last > 1.0001 * first_lost, "too near each other to be told apart in float32"
    return sorted(ranked[:number])


def packed_inputs(seed=0):
    """Two sequences a row, of other lengths in each, and padding behind."""
    inputs = tiny.batch(seed, rows=4, length=16)[0]
    ends = np.array([[5, 12], [9, 16], [3, 14], [8, 10]])
    places = np.arange(16)[None]
    inputs["padding_mask"] = places < ends[:, 1:]
    inputs["sequence_ids"] = (places >= ends[:, :1]).astype("int32")
    inputs["position_ids"] = (places - inputs["sequence_ids"] * ends[:, :1]).astype("int32")
    return inputs


INPUTS = {"padded": tiny.batch()[0], "packed": packed_inputs()}


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("family", MODELS)
def test_importance_is_that_of_the_float64_reference(family, inputs):
    model = MODELS[family](seed=1, **SIZES)
    np.testing.assert_allclose(
        np.array(model.hidden_states(inputs))[:, inputs["padding_mask"]],
        encode(model, inputs)[0][:, inputs["padding_mask"]],
        atol=2e-5,
    )
    found = measure_importance(model, [(inputs, None, None)])
    for name, values in importance(model, inputs).items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-5, err_msg=name)


def test_several_batches_are_one():
    """Of other numbers of rows, and of another length."""
    model, inputs = tiny.model(seed=1, **SIZES), tiny.batch(rows=9)[0]
    inputs["padding_mask"][7:, 11:] = False
    parts = [
        {name: values[rows, :length] for name, values in inputs.items()}
        for rows, length in ((slice(0, 1), 16), (slice(1, 7), 16), (slice(7, 9), 11))
    ]
    together = measure_importance(model, [(inputs, None, None)])
    apart = measure_importance(model, ((part, None, None) for part in parts))
    for name in ("dimensions", "heads", "neurons"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-6)


def spoiled(model, first):
    """Let the one layer of a ReLU model make no number of what stands at position `first` or later.

    There a neuron is so large that it overflows in the layer's output; elsewhere it is 0.
    """
    variables, name = named_variables(model), "encoder/block_0"
    places = variables["encoder/position_table"].numpy()
    places[:, 0] = np.where(np.arange(len(places)) < first, -50.0, 50.0)
    kernel = variables[f"{name}/intermediate/kernel"].numpy()
    kernel[:, 0] = 1e30 * (np.arange(len(kernel)) == 0)
    outgoing = variables[f"{name}/output_dense/kernel"].numpy()
    outgoing[0] = 1e30
    for part, value in (
        ("encoder/position_table", places),
        (f"{name}/intermediate/kernel", kernel),
        (f"{name}/output_dense/kernel", outgoing),
    ):
        variables[part].assign(value)
    return model


def test_padding_may_hold_anything():
    model = spoiled(tiny.model(seed=1, activation="relu", **SIZES | {"num_layers": 1}), first=10)
    inputs = tiny.batch()[0]
    inputs["padding_mask"] = np.tile(np.arange(16) < 10, (8, 1))
    last = np.array(model.hidden_states(inputs)[-1])
    assert np.isnan(last[:, 10:]).all() and np.isfinite(last[:, :10]).all()
    found = measure_importance(model, [(inputs, None, None)])
    expected = importance(model, inputs)
    assert expected["neurons"][0, 0] == 0
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-5, err_msg=name)
    others = inputs | {"token_ids": np.where(inputs["padding_mask"], inputs["token_ids"], 0)}
    again = measure_importance(model, [(others, None, None)])
    for name in expected:
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name), err_msg=name)


# What a student is made of.


def kept_parts(teacher, inputs, sizes):
    """By layer the dimensions, heads and neurons that a student keeps, by the reference."""
    worth, shape = importance(teacher, inputs), teacher.architecture

    def kept(values, name):
        number = sizes.get(name, len(values))
        return best(values, number) if number < len(values) else list(range(len(values)))

    dimensions = kept(worth["dimensions"], "hidden_size")
    return [
        (
            dimensions,
            kept(worth["heads"][layer], "num_heads"),
            kept(worth["neurons"][layer], "intermediate_size"),
        )
        for layer in range(shape.num_layers)
    ]


def expected_weights(teacher, layers, parts):
    """A student's weights as float32, cut out of its teacher's head by head."""
    values = {name: v.numpy() for name, v in named_variables(teacher).items()}
    dims, found = parts[0][0], {}
    for name in ("token_table", "position_table", "segment_table"):
        if f"encoder/{name}" in values:
            found[f"encoder/{name}"] = values[f"encoder/{name}"][:, dims]
    for name in ("encoder/embedding_norm", "head/norm"):
        for part in ("gamma", "beta"):
            found[f"{name}/{part}"] = values[f"{name}/{part}"][dims]
    found["head/transform/kernel"] = values["head/transform/kernel"][dims][:, dims]
    found["head/transform/bias"] = values["head/transform/bias"][dims]
    found["head/output_bias"] = values["head/output_bias"]
    size = teacher.architecture.head_size
    for i, layer in enumerate(layers):
        ours, theirs, (_, heads, neurons) = (
            f"encoder/block_{i}",
            f"encoder/block_{layer}",
            parts[layer],
        )
        kernel, bias = (values[f"{theirs}/query_key_value/{part}"] for part in ("kernel", "bias"))
        kernel, bias = kernel[dims].reshape(len(dims), 3, -1, size), bias.reshape(3, -1, size)
        found[f"{ours}/query_key_value/kernel"] = np.concatenate(
            [kernel[:, part, head] for part in range(3) for head in heads], axis=-1
        )
        found[f"{ours}/query_key_value/bias"] = np.concatenate(
            [bias[part, head] for part in range(3) for head in heads]
        )
        output = values[f"{theirs}/attention_output/kernel"][:, dims].reshape(-1, size, len(dims))
        found[f"{ours}/attention_output/kernel"] = np.concatenate([output[head] for head in heads])
        found[f"{ours}/intermediate/kernel"] = values[f"{theirs}/intermediate/kernel"][dims][
            :, neurons
        ]
        found[f"{ours}/intermediate/bias"] = values[f"{theirs}/intermediate/bias"][neurons]
        found[f"{ours}/output_dense/kernel"] = values[f"{theirs}/output_dense/kernel"][neurons][
            :, dims
        ]
        for name in (
            *("attention_output/bias", "output_dense/bias", "attention_norm/gamma"),
            *("attention_norm/beta", "output_norm/gamma", "output_norm/beta"),
        ):
            found[f"{ours}/{name}"] = values[f"{theirs}/{name}"][dims]
    return found


NARROWER = {
    "neurons": {"intermediate_size": 17},
    "width": {"hidden_size": 16, "num_heads": 2, "intermediate_size": 40},
    "all": {"hidden_size": 8, "num_heads": 1, "intermediate_size": 5},
}


@pytest.mark.parametrize("sizes", NARROWER.values(), ids=NARROWER)
@pytest.mark.parametrize("family", MODELS)
def test_every_weight_is_the_teachers_in_its_old_order(family, sizes):
    teacher, inputs = MODELS[family](seed=2, **SIZES), packed_inputs(1)
    student = build_student(teacher, layer_map=[2, 0], sample=[(inputs, None, None)], **sizes)
    expected = expected_weights(teacher, [2, 0], kept_parts(teacher, inputs, sizes))
    if family == "bert":  # a DistilBERT has no segments; the first one's row is in the positions
        expected["encoder/position_table"] += expected.pop("encoder/segment_table")[0]
    found = {name: v.numpy() for name, v in named_variables(student).items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert student.architecture.family == ("roberta" if family == "roberta" else "distilbert")


def test_what_is_as_wide_needs_no_sample_and_is_the_copy_of_before():
    teacher = tiny.model(seed=2, **SIZES)
    sizes = {"hidden_size": 24, "num_heads": 3, "intermediate_size": 40}
    parts = [(range(24), range(3), range(40))] * 3
    expected = expected_weights(teacher, [0, 2], parts)
    expected["encoder/position_table"] += expected.pop("encoder/segment_table")[0]
    for given in ({}, sizes):
        student = build_student(teacher, 2, **given)
        for name, variable in named_variables(student).items():
            np.testing.assert_array_equal(variable.numpy(), expected[name], err_msg=name)


def test_the_other_sizes_follow_the_hidden_size():
    teacher = tiny.model(**SIZES)
    student = build_student(teacher, hidden_size=8, sample=[tiny.batch()])
    shape = student.architecture
    assert (shape.hidden_size, shape.num_heads, shape.intermediate_size) == (8, 1, 13)
    random = build_student(teacher, hidden_size=32, initialize_from="random").architecture
    assert (random.num_heads, random.intermediate_size) == (4, 53)


def test_the_neurons_that_matter_are_kept():
    """Neither what is loud and not listened to, nor what is listened to and silent."""
    teacher = tiny.model(seed=3, activation="relu", **SIZES)
    wanted = []
    for layer in range(3):
        variables = named_variables(teacher)
        bias = variables[f"encoder/block_{layer}/intermediate/bias"]
        outgoing = variables[f"encoder/block_{layer}/output_dense/kernel"]
        silent, unheard, good = np.split(np.random.default_rng(layer).permutation(40)[:30], 3)
        values, rows = bias.numpy(), outgoing.numpy()
        values[silent], rows[silent] = -100.0, 50.0
        values[unheard], rows[unheard] = 50.0, 0.0
        values[good], rows[good] = 5.0, 5.0 * np.sign(rows[good])
        bias.assign(values)
        outgoing.assign(rows)
        wanted.append(sorted(good))
    student = build_student(teacher, 3, intermediate_size=10, sample=[tiny.batch()])
    for layer, good in enumerate(wanted):
        found = named_variables(student)[f"encoder/block_{layer}/intermediate/kernel"].numpy()
        kernel = named_variables(teacher)[f"encoder/block_{layer}/intermediate/kernel"].numpy()
        np.testing.assert_array_equal(found, kernel[:, good])


def test_neurons_without_outgoing_weights_are_not_missed():
    teacher = tiny.model(seed=4, **SIZES)
    for layer in range(3):
        outgoing = named_variables(teacher)[f"encoder/block_{layer}/output_dense/kernel"]
        rows = outgoing.numpy()
        rows[np.random.default_rng(layer).permutation(40)[:23]] = 0.0
        outgoing.assign(rows)
    student = build_student(teacher, 3, intermediate_size=17, sample=[tiny.batch()])
    inputs = packed_inputs(5)
    pairs = zip(student.hidden_states(inputs), teacher.hidden_states(inputs), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6)
    np.testing.assert_allclose(student(inputs), teacher(inputs), rtol=0, atol=2e-5)


def hollow(lost_dimensions, lost_heads):
    """A RoBERTa that has dimensions and heads of nothing, and norms that do not miss them.

    What is normed sums to 0, and the variance vanishes beside the epsilon: so the mean and the
    divisor are those of the kept dimensions alone.
    """
    model = tiny.roberta(seed=6, layer_norm_epsilon=1e6, **SIZES)
    kept = np.setdiff1d(np.arange(24), lost_dimensions)
    for name, variable in named_variables(model).items():
        value = variable.numpy()
        if name.endswith("/gamma"):
            value[:] = 1e3
        elif not name.startswith("head/norm") and value.shape[-1] == 24:
            value[..., kept] -= value[..., kept].mean(-1, keepdims=True)
        if value.shape[-1] == 24:
            value[..., lost_dimensions] = 0.0
        if name.endswith("attention_output/kernel"):
            value.reshape(3, 8, 24)[lost_heads[int(name[14])]] = 0.0
        variable.assign(value)
    return model


def test_dimensions_and_heads_of_nothing_are_not_missed():
    lost = [1, 2, 7, 11, 12, 18, 20, 23]
    teacher = hollow(lost, lost_heads=[0, 2, 1])
    kept = np.setdiff1d(np.arange(24), lost)
    sizes = {"hidden_size": 16, "intermediate_size": 40}
    student = build_student(teacher, 3, sample=[tiny.batch()], **sizes)
    inputs = packed_inputs(5)
    theirs, ours = teacher.hidden_states(inputs), student.hidden_states(inputs)
    for states, of_student in zip(theirs, ours, strict=True):
        assert np.abs(states).max() > 0.5
        np.testing.assert_allclose(of_student, np.array(states)[..., kept], atol=2e-5)
    for layer, lost_head in enumerate([0, 2, 1]):
        heads = np.delete(np.arange(3), lost_head)
        expected = np.array(teacher.query_key_value(theirs, layer)).reshape(4, 16, 3, 3, 8)
        found = np.array(student.query_key_value(ours, layer)).reshape(4, 16, 3, 2, 8)
        np.testing.assert_allclose(found, expected[:, :, :, heads], atol=2e-5)
    logits = np.array(teacher(inputs))
    assert logits.std() > 0.1
    np.testing.assert_allclose(student(inputs), logits, atol=1e-4)


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_parts_of_a_keras_nlp_teacher(family):
    """Its kernels are [D, heads, size] each, and [heads, size, D]."""
    theirs, inputs = task(family, seed=1), packed_inputs()
    student = build_student(
        theirs, 3, hidden_size=8, intermediate_size=9, sample=[(inputs, None, None)]
    )
    whole = build_student(theirs, 3)  # equal to it, see test_keras_nlp
    parts = kept_parts(whole, inputs, {"hidden_size": 8, "num_heads": 1, "intermediate_size": 9})
    found = {name: v.numpy() for name, v in named_variables(student).items()}
    for i, (dims, heads, neurons) in enumerate(parts):
        layer, name = theirs.backbone.transformer_layers[i], f"encoder/block_{i}"
        attention = layer._self_attention_layer
        dense = (attention.query_dense, attention.key_dense, attention.value_dense)
        kernels = [each.kernel.numpy()[dims][:, heads[0]] for each in dense]
        np.testing.assert_array_equal(
            found[f"{name}/query_key_value/kernel"], np.concatenate(kernels, axis=-1)
        )
        output = attention.output_dense.kernel.numpy()[heads[0]][:, dims]
        np.testing.assert_array_equal(found[f"{name}/attention_output/kernel"], output)
        kernel = layer._feedforward_intermediate_dense.kernel.numpy()[dims][:, neurons]
        np.testing.assert_array_equal(found[f"{name}/intermediate/kernel"], kernel)


def test_without_text_nothing_is_chosen():
    teacher, sizes = tiny.model(), {"intermediate_size": 16}
    message = r"^a narrower student, .* need text to choose by; give build_student a sample: "
    for sample in (None, [], iter(())):
        with pytest.raises(UserError, match=message):
            build_student(teacher, sample=sample, **sizes)
    build_student(teacher, initialize_from="random", **sizes)


def test_a_sample_may_be_any_iterable_and_is_read_where_it_is_needed_alone():
    teacher, batches, sizes = tiny.model(), [tiny.batch(i) for i in range(3)], NARROWER["all"]
    expected = tiny.weights(build_student(teacher, sample=batches, hidden_size=8))
    dataset = tf.data.Dataset.from_tensors(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(tf.data.Dataset.from_tensors(batch))
    for sample in (iter(batches), dataset, dataset.as_numpy_iterator()):
        found = build_student(teacher, sample=sample, hidden_size=8)
        np.testing.assert_array_equal(tiny.weights(found), expected)
    endless = itertools.repeat(batches[0])
    build_student(teacher, sample=endless)
    build_student(teacher, sample=endless, initialize_from="random", **sizes)
