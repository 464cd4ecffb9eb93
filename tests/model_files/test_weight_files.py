"""Weights of Hugging Face folders: each form gives the same tensors, each damage one line."""

import json
import os
import pickle

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tf_distilbert.errors import UserError
from tf_distilbert.model_files.weight_files import WEIGHT_FILES, read_weights


def tensors():
    generator = np.random.default_rng(0)
    return {
        "encoder.weight": generator.standard_normal((5, 3)).astype("float32"),
        "encoder.bias": generator.standard_normal(5).astype("float32"),
        "head.weight": generator.standard_normal((2, 5)).astype("float32"),
        "embeddings.position_ids": np.arange(12)[None],
    }


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found[name], tensor, strict=True)


def write_shards(folder, save, kind):
    """Two shards and their index, as transformers names them; gives the index."""
    stem = "model" if kind == "safetensors" else "pytorch_model"
    parts = [list(tensors())[:2], list(tensors())[2:]]
    names = [f"{stem}-{i + 1:05}-of-00002.{kind}" for i in range(2)]
    for file_name, part in zip(names, parts, strict=True):
        save({name: tensors()[name] for name in part}, folder / file_name)
    weight_map = {n: file for file, part in zip(names, parts, strict=True) for n in part}
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def edit_index(index, **files):
    content = json.loads(index.read_text())
    content["weight_map"].update(files)
    index.write_text(json.dumps(content))


def refused(folder, message):
    with pytest.raises(UserError, match=message) as caught:
        read_weights(folder)
    assert "\n" not in str(caught.value) and "\033" not in str(caught.value)
    assert str(folder) in str(caught.value)


def save_torch(arrays, path, **options):
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    values = arrays
    if isinstance(arrays, dict):
        values = {n: torch.tensor(a) if isinstance(a, np.ndarray) else a for n, a in arrays.items()}
    torch.save(values, path, **options)


def test_safetensors(tmp_path):
    save_file(tensors(), tmp_path / "model.safetensors")
    assert_equal(read_weights(tmp_path), tensors())


@pytest.mark.parametrize("dtype", ["float16", "float64", ml_dtypes.bfloat16])
def test_any_precision_becomes_float32(tmp_path, dtype):
    halves = {"a": np.array([1.5, -2.25, 0.0], dtype)}
    save_file(halves, tmp_path / "model.safetensors")
    assert_equal(read_weights(tmp_path), {"a": np.array([1.5, -2.25, 0.0], "float32")})


def test_sharded_safetensors(tmp_path):
    write_shards(tmp_path, save_file, "safetensors")
    assert_equal(read_weights(tmp_path), tensors())


def test_shards_may_be_links_out_of_the_folder_as_in_the_cache_of_the_hub(tmp_path):
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs").mkdir()
    write_shards(tmp_path / "blobs", save_file, "safetensors")
    for file in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(f"../blobs/{file.name}")
    assert_equal(read_weights(tmp_path / "snapshot"), tensors())


def test_safetensors_go_before_pickles(tmp_path):
    save_file(tensors(), tmp_path / "model.safetensors")
    for name in WEIGHT_FILES[1:]:
        (tmp_path / name).write_bytes(b"never looked at")
    assert_equal(read_weights(tmp_path), tensors())


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "tf_model.h5").touch()
    refused(tmp_path, r"has no weights \(none of model.safetensors, .*, pytorch_model.bin.index.js")


@pytest.mark.parametrize("keep", [0, 7, 40, -4])
def test_damaged_safetensors(tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_file(tensors(), path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(tmp_path, r"model\.safetensors: truncated or damaged, .*copy it again")


def test_numbers_that_numpy_lacks(tmp_path):
    header = json.dumps({"a": {"dtype": "F8_E5M2", "shape": [8], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused(tmp_path, r"model\.safetensors: holds numbers of a kind that cannot be read")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_clone_without_lfs(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(tmp_path, rf"{name}: is a Git LFS pointer.*git lfs pull")


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_a_folder_in_the_place_of_a_file(tmp_path, name):
    (tmp_path / name).mkdir()
    refused(tmp_path, rf"{name}: cannot be read \(Is a directory\)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "index.json: is not JSON"),
        (b'{"weight_map": {"a": "mod', "index.json: is not JSON"),
        (b"\xff\xfe", "index.json: is not JSON"),
        (b"[]", "index.json: holds no JSON object"),
        (b'{"metadata": {}}', "index.json: lacks a weight_map"),
        (b'{"weight_map": {}}', "index.json: lacks a weight_map"),
        (b'{"weight_map": ["a"]}', "index.json: lacks a weight_map"),
    ],
)
def test_a_broken_index(tmp_path, content, message):
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    refused(tmp_path, message)


@pytest.mark.parametrize(
    "file_name",
    [
        "../x.safetensors",
        "/x.safetensors",
        "..",
        "",
        "sub/x.safetensors",
        "..\\x.safetensors",
        "x.bin",
        "x.safetensors\n",
        7,
        None,
    ],
)
def test_an_index_stays_in_its_folder_and_with_its_kind(tmp_path, file_name):
    index = write_shards(tmp_path, save_file, "safetensors")
    save_file(tensors(), tmp_path.parent / "x.safetensors")
    edit_index(index, **{"encoder.bias": file_name})
    refused(tmp_path, r"shards must be \.safetensors files of the same folder")


def test_a_missing_shard(tmp_path):
    write_shards(tmp_path, save_file, "safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    refused(tmp_path, r"names model-00002-of-00002\.safetensors, which is missing")


def test_a_damaged_shard_is_named(tmp_path):
    write_shards(tmp_path, save_file, "safetensors")
    os.truncate(tmp_path / "model-00002-of-00002.safetensors", 20)
    refused(tmp_path, r"model-00002-of-00002\.safetensors: truncated or damaged")


def test_a_shard_that_lacks_a_tensor(tmp_path):
    index = write_shards(tmp_path, save_file, "safetensors")
    edit_index(index, extra="model-00001-of-00002.safetensors")
    refused(tmp_path, r"model-00001-of-00002\.safetensors: lacks extra, which model\.safetensors")


def test_pickles_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    refused(tmp_path, r"pytorch_model\.bin: .*`pip install torch`, or save .* safetensors")


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle(tmp_path, zipped):
    path = tmp_path / "pytorch_model.bin"
    save_torch(tensors(), path, _use_new_zipfile_serialization=zipped)
    assert_equal(read_weights(tmp_path), tensors())


@pytest.mark.parity
def test_sharded_pickles(tmp_path):
    write_shards(tmp_path, save_torch, "bin")
    assert_equal(read_weights(tmp_path), tensors())
    (tmp_path / "pytorch_model-00001-of-00002.bin").unlink()
    refused(tmp_path, r"names pytorch_model-00001-of-00002\.bin, which is missing")


@pytest.mark.parity
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_pickles_of_any_precision_and_parameters(tmp_path, dtype):
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    values = torch.tensor([[1.5, -2.25], [0.0, 4.0]], dtype=getattr(torch, dtype))
    saved = {"a": torch.nn.Parameter(values), "b": values.T, "c": torch.tensor([True])}
    torch.save(saved, tmp_path / "pytorch_model.bin")
    array = np.array([[1.5, -2.25], [0.0, 4.0]], "float32")
    assert_equal(read_weights(tmp_path), {"a": array, "b": array.T, "c": np.array([True])})


@pytest.mark.parity
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 100, -40, -3])
def test_a_truncated_pickle(tmp_path, zipped, keep):
    path = tmp_path / "pytorch_model.bin"
    save_torch(tensors(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:keep])
    refused(tmp_path, r"pytorch_model\.bin: truncated or damaged, .*copy it again")


@pytest.mark.parity
@pytest.mark.parametrize("content", [b"hello, world", b"<!doctype html>", bytes(64), b"\xff" * 99])
def test_no_pickle_at_all(tmp_path, content):
    pytest.importorskip("torch", reason="needs the extra `parity`")
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    refused(tmp_path, r"pytorch_model\.bin: truncated or damaged")


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parity
@pytest.mark.parametrize("form", ["zip", "old", "pickle 2", "pickle 4"])
def test_pickled_code_is_never_run(tmp_path, form):
    path = tmp_path / "pytorch_model.bin"
    content = {"a": Attack(tmp_path / "proof")}
    message = "would run code when read, so it is refused"
    if form.startswith("pickle"):
        pytest.importorskip("torch", reason="needs the extra `parity`")
        path.write_bytes(pickle.dumps(content, protocol=int(form[-1])))
        if form == "pickle 4":
            message = "no PyTorch weights"
    else:
        save_torch(content, path, _use_new_zipfile_serialization=form == "zip")
    refused(tmp_path, rf"pytorch_model\.bin: .*{message}")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parity
def test_a_whole_module_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pytorch_model.bin")
    refused(tmp_path, r"would run code .*state_dict\(\)")


@pytest.mark.parity
@pytest.mark.parametrize("content", [{"state_dict": {"a": np.ones(2)}}, [1, 2], {"epoch": 3}])
def test_something_else_than_tensors_by_name(tmp_path, content):
    save_torch(
        json.loads(json.dumps(content, default=np.ndarray.tolist)), tmp_path / "pytorch_model.bin"
    )
    refused(tmp_path, "something else than tensors by name")


@pytest.mark.parity
def test_a_torch_that_is_not_safe(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="needs the extra `parity`")
    save_torch(tensors(), tmp_path / "pytorch_model.bin")
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.5.1+cpu"))
    refused(tmp_path, r"torch 2\.5\.1\+cpu could be made to run code .*'torch>=2\.6'")
