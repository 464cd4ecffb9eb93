"""Settings: every file in configs/ loads, defaults are as documented, and nothing passes unseen."""

from dataclasses import asdict
from pathlib import Path

import pytest

from support.settings import MINIMAL, with_values, write
from tf_distilbert.config.file import dump_config, load_config, parse_config
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.config.training import TrainConfig, resolve_steps
from tf_distilbert.distillation.student_shape import even_layer_map
from tf_distilbert.errors import UserError

FILES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def kind_of(path):
    return PretrainConfig if path.stem == "sample_teacher" else DistillConfig


def test_the_folder_has_the_known_files():
    names = {path.stem for path in FILES}
    assert names >= {"quickstart", "sample_teacher", "mini-english", "distilbert-base-uncased"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_and_survives_writing_it_out(path, tmp_path):
    config = load_config(kind_of(path), path)
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(kind_of(path), tmp_path / "again.yaml") == config
    assert config.output == f"runs/{path.stem}"
    with pytest.raises(UserError, match=r"unknown key|is missing"):
        load_config(DistillConfig if kind_of(path) is PretrainConfig else PretrainConfig, path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_what_it_is_for(path):
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("Command:", "Hardware:", "Expect:"):
        assert any(word in line for line in comment)
    [command] = [line for line in comment if "Command:" in line]
    verb = "pretrain" if kind_of(path) is PretrainConfig else "distill"
    assert f"tf-distilbert {verb} configs/{path.name}" in command


MINILM = [path for path in FILES if path.stem.startswith(("minilm", "relations"))]


@pytest.mark.parametrize("path", MINILM, ids=lambda path: path.stem)
def test_the_recipes_with_relations_have_minilms_numbers(path):
    config = load_config(DistillConfig, path)
    loss, train = config.loss, config.train
    # A mean of queries, keys and values there is a sum in the authors' objective.
    assert (loss.relation_weight, loss.relation_heads, loss.relation_layers) == (3.0, 48, [11, 5])
    assert loss.cosine_weight == loss.mse_weight == loss.hidden_weight == 0.0
    words = (loss.distillation_weight, loss.mlm_weight, loss.distillation_positions)
    assert words == ((5.0, 2.0, "masked") if path.stem == "relations-and-words" else (0, 0, "all"))
    assert (train.steps, train.global_batch_size, train.learning_rate) == (400_000, 256, 6e-4)
    assert train.warmup_share * train.steps == 4000
    assert (train.beta_1, train.beta_2, train.epsilon) == (0.9, 0.999, 1e-6)
    # Decay would shrink what relations alone do not reach.
    decay = 0.01 if loss.mlm_weight else 0.0
    assert (train.weight_decay, config.data.sequence_length) == (decay, 128)


PAPER = [path for path in FILES if path.stem.startswith(("distilbert-base", "distilroberta"))]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_recipes_of_the_paper_have_its_numbers(path):
    config = load_config(DistillConfig, path)
    assert (config.student.num_layers, config.student.layer_map) == (6, even_layer_map(12, 6))
    loss = config.loss
    assert (loss.distillation_weight, loss.mlm_weight, loss.cosine_weight) == (5.0, 2.0, 1.0)
    assert (loss.temperature, loss.mse_weight, loss.distillation_positions) == (2.0, 0.0, "all")
    masking = config.data.masking
    assert (masking.rate, masking.mask_share, masking.random_share) == (0.15, 0.8, 0.1)
    assert (masking.smoothing, config.data.sequence_length) == (0.7, 512)
    assert (config.train.learning_rate, config.train.warmup_share) == (5e-4, 0.05)
    assert (config.train.beta_1, config.train.beta_2, config.train.epsilon) == (0.9, 0.98, 1e-6)
    assert config.train.global_batch_size >= 3900


def test_the_defaults(tmp_path):
    config = load_config(DistillConfig, write(tmp_path / "a.yaml", MINIMAL))
    values = asdict(config)
    assert values["student"] == {
        "num_layers": None,
        "layer_map": None,
        "hidden_size": None,
        "num_heads": None,
        "intermediate_size": None,
        "vocabulary": None,
        "fold_segments": True,
        "keep_projection": True,
        "initialize_from": "teacher",
    }
    assert values["loss"] == {
        "temperature": 2.0,
        "distillation_weight": 5.0,
        "mlm_weight": 2.0,
        "cosine_weight": 1.0,
        "mse_weight": 0.0,
        "relation_weight": 0.0,
        "hidden_weight": 0.0,
        "embedding_weight": 0.0,
        "embedding_loss": "cosine",
        "distillation_positions": "all",
        "relation_heads": None,
        "relation_layers": None,
        "hidden_layers": None,
        "chunk_size": 512,
    }
    assert values["data"]["masking"]["rate"] == 0.15
    assert (config.train.resume, config.train.precision) == ("never", "auto")
    assert config.data.on_corrupt == "error"


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-4", 5e-4), ("1.5E3", 1500.0), (".5e+1", 5.0), ("1", 1.0), ("0.25", 0.25)],
)
def test_numbers_as_people_write_them(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(
        f"teacher: t\noutput: o\ndata: {{text: a}}\ntrain: {{steps: 1, learning_rate: {text}}}\n"
    )
    rate = load_config(DistillConfig, tmp_path / "a.yaml").train.learning_rate
    assert rate == value
    assert isinstance(rate, float)


BAD = {
    "what to do with damage": (
        {"data__on_corrupt": "ignore"},
        r"data\.on_corrupt is 'ignore'; it must be one of error, skip",
    ),
    "unknown key": (
        {"train__lerning_rate": 1.0},
        r"train\.lerning_rate; .* train\.learning_rate\?",
    ),
    "unknown section": ({"los": {}}, r"unknown key los; did you mean loss\?"),
    "key one level up": ({"steps": 10}, r"unknown key steps; did you mean train\.steps\?"),
    "key of another section": (
        {"train__num_layers": 3},
        r"unknown key train\.num_layers; did you mean student\.num_layers\?",
    ),
    "key two levels up": ({"mask_share": 1}, r"did you mean data\.masking\.mask_share\?"),
    "initials": ({"train__lr": 1e-4}, r"key train\.lr; did you mean train\.learning_rate\?"),
    "initials one level up": ({"lr": 1e-4}, r"key lr; did you mean train\.learning_rate\?"),
    "the last words": (
        {"train__batch_size": 8},
        r"key train\.batch_size; did you mean train\.global_batch_size\?",
    ),
    "as others call it": (
        {"train__num_train_epochs": 3},
        r"key train\.num_train_epochs; did you mean train\.epochs\?",
    ),
    "nothing near": ({"loss__zzz": 1}, r"unknown key loss\.zzz; known: temperature, "),
    "text for a number": ({"train__steps": "many"}, r"train\.steps is 'many'; .* a whole number"),
    "fraction for a whole": ({"train__steps": 1.5}, r"train\.steps is 1\.5; it takes a whole"),
    "truth for a number": ({"train__steps": True}, r"train\.steps is true; it takes a whole"),
    "number for a truth": ({"student__fold_segments": 1}, r"fold_segments is 1; .* true or false"),
    "number for text": ({"teacher": 5}, r"teacher is 5; it takes text"),
    "null for text": ({"teacher": None}, r"teacher is empty; it takes text"),
    "list of numbers for text": ({"data__text": [1]}, r"data\.text is \[1\]; .* a list of text"),
    "value for a section": ({"loss": 5}, r"loss is 5; it takes keys of its own, as loss\.NAME"),
    "two durations": ({"train__tokens": 9}, r"given: train\.steps and train\.tokens"),
    "no duration": ({"train__steps": None}, r"one of train\.steps, .*; given: none of them"),
    "negative duration": ({"train__steps": -1}, r"train\.steps is -1; it must be above 0"),
    "two texts": ({"data__records": "r"}, r"data\.text and data\.records are both given"),
    "no text": ({"data__text": []}, r"data\.text is missing; give files of text, or"),
    "two held-out texts": (
        {"data__validation": "a", "data__validation_records": "b"},
        r"data\.validation and data\.validation_records are both given",
    ),
    "short sequences": ({"data__sequence_length": 8}, r"data\.sequence_length is 8; .* >= 16"),
    "rate": ({"data__masking": {"rate": 1.0}}, r"data\.masking\.rate is 1\.0; .* between 0 and 1"),
    "shares": ({"data__masking": {"mask_share": 0.95}}, r"shares that add up to 1 at most"),
    "smoothing": ({"data__masking": {"smoothing": -1}}, r"masking\.smoothing is -1\.0; .* 0 or"),
    "micro-batch": ({"train__micro_batch_size": 100}, r"256 is not a multiple of .* 100"),
    "precision": ({"train__precision": "float16"}, r"one of auto, float32, mixed_bfloat16"),
    "strategy": ({"train__strategy": "all"}, r"train\.strategy is 'all'; it must be one of auto"),
    "several steps at once": (
        {"train__steps_per_execution": 5, "train__log_every": 6},
        r"train\.log_every is 6; it must be a multiple of train\.steps_per_execution, 5",
    ),
    "no skipped updates": (
        {"train__max_skipped_updates": 0},
        r"max_skipped_updates is 0; .* above",
    ),
    "resume": ({"train__resume": "yes"}, r"one of never, auto, overwrite"),
    "learning rate": ({"train__learning_rate": 0}, r"train\.learning_rate is 0\.0; .* above 0"),
    "learning rate not a number": (
        {"train__learning_rate": float("nan")},
        r"train\.learning_rate is nan; .* above 0",
    ),
    "clip norm": ({"train__clip_norm": -1}, r"train\.clip_norm is -1\.0; it must be"),
    "beta": ({"train__beta_2": 1.5}, r"train\.beta_2 is 1\.5; it must be"),
    "negative decay": ({"train__weight_decay": -1}, r"train\.weight_decay is -1\.0; it must be"),
    "negative micro-batch": ({"train__micro_batch_size": -4}, r"train\.micro_batch_size"),
    "micro-batch of 0": ({"train__micro_batch_size": 0}, r"train\.micro_batch_size is 0"),
    "validation batch": (
        {"train__validation_batch_size": 0},
        r"train\.validation_batch_size is 0; it must be above 0",
    ),
    "no start": (
        {"student__initialize_from": ""},
        r"student\.initialize_from is empty; it must be teacher, random, or a model's folder",
    ),
    "layers of a student that is there": (
        {"student__initialize_from": "runs/first/model", "student__num_layers": 2},
        r"student\.num_layers is given, .*; leave one out, or give student\.num_layers=null",
    ),
    "map of a student that is there": (
        {"student__initialize_from": "runs/first/model", "student__layer_map": [0]},
        r"student\.layer_map is given, but the model of student\.initialize_from has its own lay",
    ),
    "warm-up": ({"train__warmup_share": 1.0}, r"train\.warmup_share is 1\.0; .* \[0, 1\)"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_values_are_refused(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_config(DistillConfig, with_values(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["teacher", "output"])
def test_required_keys(key):
    values = with_values()
    del values[key]
    with pytest.raises(UserError, match=f"^{key} is missing"):
        parse_config(DistillConfig, values)


def test_pretraining_needs_a_vocabulary():
    values = with_values(data__vocabulary=100)
    del values["teacher"]
    assert parse_config(PretrainConfig, values).data.vocabulary == 100
    values["data"] = {"records": "r", "vocabulary": 100}
    with pytest.raises(UserError, match=r"data\.vocabulary is a number, but there is no data\.tex"):
        parse_config(PretrainConfig, values)
    values["data"] = {"text": "a"}
    with pytest.raises(UserError, match=r"data\.vocabulary is missing; give a vocab\.txt, or"):
        parse_config(PretrainConfig, values)


@pytest.mark.parametrize(
    ("name", "value"), [("data.vocabulary", 100), ("model", {"num_layers": 2})]
)
def test_pretraining_from_a_model_keeps_its_sizes_and_words(name, value):
    values = with_values()
    values["initialize_from"] = values.pop("teacher")
    assert parse_config(PretrainConfig, values).initialize_from
    section, _, key = name.partition(".")
    values[section] = values.get(section, {}) | ({key: value} if key else value)
    with pytest.raises(UserError, match=f"^{name} is given, but the model of initialize_from"):
        parse_config(PretrainConfig, values)


BAD_FILES = {
    "broken": (b"a: [1\nb: 2\n", r"a\.yaml: is not YAML: .*line 2"),
    "a list": (b"- a\n", r"a\.yaml: holds no keys; write lines of the form key: value"),
    "no text": (b"\xff\xfe\x00", r"a\.yaml: is not YAML"),
    "empty": (b"", r"teacher is missing"),
    "a key twice": (b"output: a\noutput: b\n", r"a\.yaml: .*output.* twice"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_config(DistillConfig, tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: no such configuration file"):
        load_config(DistillConfig, tmp_path / "none.yaml")
    with pytest.raises(UserError, match=str(tmp_path)):
        load_config(DistillConfig, tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", r"'train\.steps': a setting is written key=value, as train"),
        ("train.steps=[1", r"'train\.steps=\[1': the value is not YAML"),
        ("train.stpes=1", r"unknown key train\.stpes; did you mean train\.steps\?"),
        ("train.steps.more=1", r"train\.steps is \{more: 1\}; it takes a whole number"),
        ("train=5", r"train is 5; it takes keys of its own"),
        ("=5", r"'=5': a setting is written key=value, as train"),
    ],
)
def test_bad_overrides_are_refused(tmp_path, override, message):
    path = write(tmp_path / "a.yaml", MINIMAL)
    with pytest.raises(UserError, match=message):
        load_config(DistillConfig, path, [override])


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 1}, 4),  # 100 sequences in batches of 32: 3.125
        ({"epochs": 3}, 10),  # 9.375
        ({"epochs": 0.32}, 1),
        ({"epochs": 0.001}, 1),
        ({"tokens": 5000}, 4),  # exactly an epoch
        ({"tokens": 16_000}, 10),  # 3.2 epochs are 320 sequences
        ({"tokens": 16_001}, 11),
    ],
)
def test_durations_become_steps(duration, steps):
    train = TrainConfig(global_batch_size=32, **duration)
    assert resolve_steps(train, num_sequences=100, num_tokens=5000) == steps


def test_micro_batches():
    assert TrainConfig(steps=1, global_batch_size=32).micro_batches() == 1
    assert TrainConfig(steps=1, global_batch_size=32, micro_batch_size=8).micro_batches() == 4


def test_replicas_share_the_batch_and_its_micro_batches():
    train = TrainConfig(steps=1, global_batch_size=32, micro_batch_size=4)
    assert [train.micro_batches(n) for n in (1, 2, 4, 8)] == [8, 4, 2, 1]
    assert TrainConfig(steps=1, global_batch_size=32).micro_batches(8) == 1
    message = r"32 is not a multiple of 16 replicas times train.micro_batch_size 4"
    with pytest.raises(UserError, match=message):
        train.micro_batches(16)
    with pytest.raises(UserError, match="32 is not a multiple of 5 replicas times"):
        TrainConfig(steps=1, global_batch_size=32).micro_batches(5)


def test_durations_end_with_a_whole_execution():
    train = TrainConfig(epochs=1, global_batch_size=32, steps_per_execution=5)
    assert resolve_steps(train, num_sequences=200, num_tokens=5000) == 10
