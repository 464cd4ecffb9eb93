"""Downloads from a Hub of our own: what is fetched, what is cached, what each failure says."""

import os
import subprocess
import sys

import pytest

from support.fake_hub import FakeHub
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.hub import download

NAME = "hf://google-bert/tiny"
SMALL = {"config.json": "{}", "vocab.txt": "[PAD]\n", "tokenizer_config.json": '{"a": 1}'}
# What real repositories have, too.
OTHERS = {
    "README.md": "# a model",
    ".gitattributes": "*.bin filter=lfs",
    "bert_config.json": "{} ",
    "tf_model.h5": "h5",
    "model.fp16.safetensors": "half",
    "onnx/config.json": "{ }",
    "onnx/model.safetensors": "onnx",
    "training_args.bin": "pickle",
}
SAFETENSORS = SMALL | {"model.safetensors": "tensors"}
PICKLE = SMALL | {"pytorch_model.bin": "pickled"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with FakeHub() as hub:
        constants = {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": True,  # no one's token is sent anywhere
        }
        for name, value in constants.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield hub


def go_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def refused(name, message):
    with pytest.raises(UserError, match=message) as caught:
        download(name)
    text = str(caught.value)
    assert "\n" not in text and name.splitlines()[0] in text
    assert "path" in text and "folder" in text


def shards(stem, ending):
    names = [f"{stem}-{i:05}-of-00002.{ending}" for i in (1, 2)]
    return {f"{stem}.{ending}.index.json": "an index", names[0]: "first", names[1]: "second"}


def test_safetensors_alone_are_fetched_where_there_are_both(hub):
    hub.push("google-bert/tiny", OTHERS | PICKLE | SAFETENSORS)
    assert contents(download(NAME)) == SAFETENSORS
    assert hub.fetched() == sorted(SAFETENSORS)


def test_every_file_of_a_tokenizer(hub):
    names = ["vocab.json", "merges.txt", "tokenizer.json", "special_tokens_map.json"]
    files = SAFETENSORS | {name: name for name in [*names, "added_tokens.json"]}
    hub.push("google-bert/tiny", files)
    assert contents(download(NAME)) == files


@pytest.mark.parametrize(
    ("fetched", "left"),
    [
        (shards("model", "safetensors"), shards("pytorch_model", "bin")),
        (shards("pytorch_model", "bin"), {}),
        ({"pytorch_model.bin": "pickled"}, {}),
    ],
)
def test_each_kind_of_weights(hub, fetched, left):
    hub.push("google-bert/tiny", OTHERS | SMALL | fetched | left)
    assert contents(download(NAME)) == SMALL | fetched
    assert hub.fetched() == sorted(SMALL | fetched)


@pytest.mark.parametrize("kind", [("model", "safetensors"), ("pytorch_model", "bin")])
def test_a_download_that_was_cut_short_is_completed(hub, kind):
    files = SMALL | shards(*kind)
    hub.push("google-bert/tiny", files)
    last = next(name for name in files if "00002-of" in name)
    (download(NAME) / last).resolve().unlink()
    hub.requests.clear()
    assert contents(download(NAME)) == files
    assert hub.fetched() == [last]


def test_a_name_without_owner(hub):
    hub.push("tiny", SAFETENSORS)
    assert contents(download("hf://tiny")) == SAFETENSORS


@pytest.mark.parametrize("revision", ["v2", "refs/pr/1", "1.0+old"])
def test_a_revision(hub, revision):
    hub.push("google-bert/tiny", SAFETENSORS)
    commit = hub.push("google-bert/tiny", SAFETENSORS | {"config.json": "[2]"}, revision)
    assert contents(download(f"{NAME}@{revision}"))["config.json"] == "[2]"
    assert contents(download(f"{NAME}@{commit}"))["config.json"] == "[2]"
    assert contents(download(NAME))["config.json"] == "{}"


@pytest.mark.parametrize("files", [SAFETENSORS, PICKLE])
def test_a_second_time_nothing_is_fetched(hub, files):
    hub.push("google-bert/tiny", files)
    folder = download(NAME)
    hub.requests.clear()
    assert download(NAME) == folder
    assert not hub.fetched()
    assert all(path.startswith("/api/models/") for _, path in hub.asked())


def test_a_new_commit_is_fetched_and_what_stayed_is_not(hub):
    hub.push("google-bert/tiny", SAFETENSORS)
    download(NAME)
    hub.requests.clear()
    hub.push("google-bert/tiny", SAFETENSORS | {"config.json": "[2]"})
    assert contents(download(NAME)) == SAFETENSORS | {"config.json": "[2]"}
    assert hub.fetched() == ["config.json"]


@pytest.mark.parametrize("files", [SAFETENSORS, SMALL | shards("pytorch_model", "bin")])
def test_offline_the_cache_serves_without_a_request(hub, monkeypatch, files):
    hub.push("google-bert/tiny", files)
    folder = download(NAME)
    hub.requests.clear()
    go_offline(monkeypatch)
    assert download(NAME) == folder
    assert contents(folder) == files
    assert not hub.requests


@pytest.mark.parametrize("name", [NAME, f"{NAME}@v2"])
def test_the_cache_serves_when_the_hub_is_down(hub, name):
    hub.push("google-bert/tiny", PICKLE)
    hub.push("google-bert/tiny", PICKLE, "v2")
    folder = download(name)
    hub.stop()
    assert download(name) == folder


@pytest.mark.parametrize("status", [403, 500, 503])
def test_the_cache_serves_when_the_hub_is_ill(hub, status):
    hub.push("google-bert/tiny", SAFETENSORS)
    folder = download(NAME)
    hub.refuse["/"] = (status, None)
    assert download(NAME) == folder


def test_the_cache_serves_when_connections_break(hub):
    hub.push("google-bert/tiny", SAFETENSORS)
    folder = download(NAME)
    hub.hang_up = True
    assert download(NAME) == folder


def test_the_environment_is_honoured(hub, tmp_path):
    """As the user has it: variables before the program starts, a process each time."""
    hub.push("google-bert/tiny", OTHERS | SAFETENSORS)
    program = "import sys, tf_distilbert.model_files.hub as hub; print(hub.download(sys.argv[1]))"
    unset = ("HF_HUB_CACHE", "HF_TOKEN", "TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.endpoint}

    def run(name, **variables):
        command = [sys.executable, "-c", program, name]
        done = subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, timeout=120
        )
        return done.stdout.strip(), done.stderr.strip()

    folder, bars = run(NAME)
    assert folder.startswith(str(tmp_path / "home"))
    assert "Fetching 4 files: 100%" in bars
    hub.stop()
    hub.requests.clear()
    assert run(NAME, HF_HUB_OFFLINE="1")[0] == folder
    printed, said = run("hf://google-bert/other", HF_HUB_OFFLINE="1")
    assert not printed
    assert "not (or not wholly) in the cache and HF_HUB_OFFLINE is set" in said.splitlines()[-1]


def test_offline_without_cache(hub, monkeypatch):
    hub.push("google-bert/tiny", SAFETENSORS)
    go_offline(monkeypatch)
    refused(NAME, r"is not \(or not wholly\) in the cache and HF_HUB_OFFLINE is set; unset it")
    assert not hub.requests


def test_offline_with_half_a_download(hub, monkeypatch):
    hub.push("google-bert/tiny", SAFETENSORS)
    (download(NAME) / "model.safetensors").unlink()
    go_offline(monkeypatch)
    refused(NAME, "in the cache|neither model")


def test_the_hub_is_down(hub):
    hub.stop()
    refused(NAME, rf"cannot be fetched from {hub.endpoint} \(.*\); check the network")


def test_connections_break(hub):
    hub.hang_up = True
    refused(NAME, r"cannot be fetched from .* \(.*disconnected.*\); check the network")


def test_a_new_commit_that_cannot_be_fetched_whole(hub):
    """The old files are no answer to a question for the new ones, half of which are there."""
    hub.push("google-bert/tiny", SAFETENSORS)
    download(NAME)
    commit = hub.push("google-bert/tiny", PICKLE | {"config.json": "[2]"})
    hub.refuse[f"/google-bert/tiny/resolve/{commit}/pytorch_model"] = (404, "EntryNotFound")
    refused(NAME, r"cannot be fetched from .*Entry Not Found")


def test_the_hub_is_ill(hub):
    hub.refuse["/"] = (500, None)
    refused(NAME, "cannot be fetched from .*500")


@pytest.mark.parametrize("status", [401, 404])
def test_no_such_repository(hub, status):
    hub.refuse["/api/models"] = (status, "RepoNotFound")
    refused(NAME, "no such repository, or a private one .*hf auth login")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", ["/api/models/", "/google-bert/tiny/resolve/"])
def test_a_gated_repository(hub, status, where):
    hub.push("google-bert/tiny", SAFETENSORS)
    hub.refuse[where] = (status, "GatedRepo")
    refused(NAME, rf"is gated; accept its terms at {hub.endpoint}/google-bert/tiny .*hf auth login")


def test_no_right_to_read(hub):
    hub.refuse["/api/models/"] = (403, None)
    refused(NAME, r"refuses to give it to you \(403\); run `hf auth login`")


def test_no_such_revision(hub):
    hub.push("google-bert/tiny", SAFETENSORS)
    refused(f"{NAME}@v9", rf"has no revision 'v9'; see {hub.endpoint}/google-bert/tiny/tree")


@pytest.mark.parametrize("files", [SMALL | OTHERS, {"README.md": ""}])
def test_a_repository_without_weights(hub, files):
    hub.push("google-bert/tiny", files)
    refused(NAME, "neither model.safetensors nor pytorch_model.bin, whole")
    assert not set(hub.fetched()) - set(SMALL)


def test_a_cache_that_cannot_be_written(hub, tmp_path):
    hub.push("google-bert/tiny", SAFETENSORS)
    (tmp_path / "cache").write_text("a file")
    refused(NAME, r"cannot be stored in .*cache \(.*\); make room or set HF_HOME")
    assert (tmp_path / "cache").read_text() == "a file"


@pytest.mark.parametrize(
    "name",
    [
        "hf://",
        "hf:///",
        "hf://a/b/c",
        "hf://a/b/",
        "hf://a b",
        "hf://../b",
        "hf://a--b",
        "hf://a/b@",
        "hf://a/b@x y",
        "hf://a/b@../../x",
        "hf://a/b@/x",
        "hf://a/b@x@y",
        "hf://a/b@x\n",
    ],
)
def test_a_bad_name(hub, name):
    refused(name, "names no model; write hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    assert not hub.requests
