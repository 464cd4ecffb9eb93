"""The tree keeps the shape that makes it readable: imports go downwards, files stay small."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tf_distilbert"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the top down; a module imports only from lines below its own.
LAYERS = (
    ("cli",),
    ("cli_verbs",),
    ("cli_options", "launch"),
    ("report.reporter",),
    ("report.page",),
    ("report.examples", "report.layers", "report.measurements", "report.retention_section"),
    ("report.blanks", "report.picture", "report.run_models"),
    ("report.curves", "report.held_out", "report.summary"),
    ("report.run", "report.table"),
    ("benchmark.kinds",),
    ("benchmark.inference", "benchmark.input", "benchmark.memory"),
    ("benchmark.step",),
    ("benchmark.timing", "benchmark.matrix_peak", "benchmark.report", "benchmark.onnx_models"),
    ("benchmark.our_models", "benchmark.torch_models", "benchmark.exported_models"),
    ("benchmark.jax_run", "benchmark.torch_run"),
    ("benchmark.torch_bert", "benchmark.device_products"),
    ("benchmark.keras_nlp_steps",),
    ("benchmark.worker_process", "benchmark.input_workloads", "benchmark.vocabulary_losses"),
    ("benchmark.competitor", "benchmark.worker", "benchmark.flops", "benchmark.batch"),
    ("benchmark.machine",),
    ("demo.start",),
    ("demo.page",),
    ("demo.answer_html", "demo.form", "demo.web_server", "demo.listener"),
    ("demo.comparison",),
    ("demo.answer_table",),
    ("demo.model_pair",),
    ("quickstart", "prediction", "data.beam"),
    ("data.beam_pipeline",),
    ("data.beam_options", "data.beam_steps"),
    ("mask_filling",),
    ("exports.exporter",),
    ("exports.formats", "exports.model_card", "exports.usage"),
    ("exports.saved_model", "exports.saved_model_session", "exports.fixed_shape"),
    ("exports.concrete_function", "exports.verification", "exports.description", "exports.warm_up"),
    ("exports.litert_file", "exports.onnx_file", "exports.onnx_int8", "exports.openvino_file"),
    ("exports.onnx_patterns", "exports.optional_package", "exports.raw_inputs"),
    ("exports.litert_example", "exports.silence"),
    ("serving.services",),
    (
        *("serving.masked_lm", "serving.classification", "serving.embedding"),
        *("serving.question_answering", "serving.token_classification"),
    ),
    ("finetuning.retention",),
    ("finetuning.trial", "finetuning.ablation", "finetuning.model_facts"),
    ("finetuning.retention_table", "finetuning.retention_plot"),
    ("finetuning.finetune", "finetuning.task_evaluation"),
    ("finetuning.task_data", "finetuning.start_model"),
    ("finetuning.task_prediction",),
    ("finetuning.encoded_split", "finetuning.task_batches", "finetuning.finetune_config"),
    ("finetuning.encoding", "finetuning.task_trainer"),
    ("finetuning.task_rows",),
    ("finetuning.task",),
    ("finetuning.splits", "finetuning.scores", "finetuning.submissions", "finetuning.answers"),
    (
        *("finetuning.glue_files", "finetuning.imdb_files", "finetuning.own_files"),
        *("finetuning.tfds_records", "finetuning.answer_windows"),
    ),
    ("finetuning.squad_file", "finetuning.table_file", "finetuning.conll_file"),
    ("finetuning.squad_metrics", "finetuning.labels", "finetuning.data_folder"),
    ("finetuning.metrics", "finetuning.token_metrics", "finetuning.text_file"),
    ("finetuning.example", "finetuning.task_table"),
    ("serving.model_function",),
    ("serving.service", "serving.token_windows"),
    ("serving.served_model",),
    ("train", "evaluation"),
    ("run_loop", "masked_lm_data", "job"),
    ("monitor", "run_directory", "run_data", "training_data"),
    ("step_profile", "weight_histograms"),
    ("checkpoints", "damage_log", "logs", "provenance", "interruption"),
    ("distiller", "pretrainer"),
    ("trainer", "student", "model_folder", "keras_nlp_export"),
    ("keras_nlp_presets",),
    ("keras_nlp_models",),
    ("hf_weights",),
    ("task_config",),
    ("masked_language_model", "task_models", "data.pipeline"),
    ("encoder_model",),
    ("encoder", "data.masking", "data.prepare", "data.vocabulary", "model_config"),
    ("data.block_encoder", "data.output_folder"),
    (
        "losses",
        "vocabulary_loss",
        "optimization",
        "strategy",
        "throughput",
        "data.packing",
        "data.text",
        "tokenization.folder",
    ),
    ("tensorflow_strategy", "jax_strategy"),
    ("step",),
    ("tensorflow_step", "jax_step"),
    ("running_figures", "cluster"),
    ("tokenization.word_piece", "tokenization.byte_pair", "tokenization.japanese"),
    ("tokenization.vocabulary_file",),
    ("tokenization.bert_characters", "tokenization.normalizer_model"),
    ("tokenization.tokenizer", "google_checkpoint", "weight_files", "hub"),
    ("tokenization.text_spans",),
    ("data.shards", "data.row_packing", "data.progress_report", "runtime"),
    ("data.records", "data.hashing"),
    ("data.checked_array", "data.damaged", "data.shard_file", "data.shard_index"),
    ("data.reader_calls", "data.tfds_split"),
    ("atomic_writes",),
    ("config",),
    ("activation",),
    ("attention", "chunks", "compilation", "dropout", "forward_pass"),
    ("prediction_requests",),
    ("architecture", "config_file", "assets", "sample.corpus", "json_file"),
    ("errors", "version"),
)
RANK = {name: rank for rank, names in enumerate(reversed(LAYERS)) for name in names}


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path):
    """Names of our modules that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tf_distilbert"):
            module = node.module.removeprefix("tf_distilbert").lstrip(".")
            for alias in node.names:
                full = f"{module}.{alias.name}".lstrip(".")
                yield full if full in RANK else module


def ranked_files():
    skipped = ("__init__", "__main__")
    return [f for f in FILES if f.stem not in skipped and not module_name(f).startswith("sample.f")]


@pytest.mark.parametrize("path", ranked_files(), ids=module_name)
def test_imports_go_downwards(path):
    name = module_name(path)
    assert name in RANK, f"{name} has no place in LAYERS"
    for imported in imports(path):
        if imported.startswith("sample.facts") or imported in ("", "sample"):
            continue
        assert RANK[imported] < RANK[name], f"{name} imports {imported}"


@pytest.mark.parametrize("name", ["trainer", "losses", "task_models"])
def test_the_training_core_names_no_backend(name):
    """Neither there nor in what it imports, but for the types of arguments."""
    seen, waiting = set(), [name]
    while waiting:
        path = PACKAGE / f"{waiting.pop().replace('.', '/')}.py"
        tree = ast.parse(path.read_text())
        guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
        skipped = {id(x) for n in guarded for x in ast.walk(n)}
        nodes = [n for n in ast.walk(tree) if id(n) not in skipped]
        names = [alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names]
        names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
        assert not [imported for imported in names if imported.startswith("tensorflow")], path
        ours = {n.removeprefix("tf_distilbert.") for n in names if n.startswith("tf_distilbert.")}
        waiting += ours - seen
        seen |= ours


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_stay_small(path):
    tables = path.name.startswith("facts_")
    assert len(path.read_text().splitlines()) <= (360 if tables else 350)


def test_every_package_is_installed():
    setup = (PACKAGE.parent / "setup.py").read_text()
    packages = {f.parent.relative_to(PACKAGE.parent) for f in FILES if f.name == "__init__.py"}
    assert all(f'"{".".join(path.parts)}"' in setup for path in packages)


def test_configurations_stay_out_of_the_parts():
    entry_points = {"cli_verbs", "train", "quickstart", "run_loop", "run_data", "run_directory"}
    entry_points |= {"job", "masked_lm_data", "finetuning.ablation", "finetuning.finetune_config"}
    entry_points |= {"finetuning.retention", "finetuning.task_data", "report.run"}
    users = {module_name(p) for p in ranked_files() if "config" in set(imports(p))}
    assert users <= entry_points
