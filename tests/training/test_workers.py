"""The workers that TF_CONFIG names; broken ones are refused in test_launch."""

import json

import pytest

from tf_distilbert.training.strategy import read_workers

WORKERS = ["a:1", "b:2", "c:3"]


@pytest.mark.parametrize(
    ("cluster", "task", "addresses", "number"),
    [
        ({"worker": WORKERS}, ("worker", 0), WORKERS, 0),
        ({"worker": WORKERS}, ("worker", 2), WORKERS, 2),
        ({"worker": WORKERS, "chief": ["d:4"]}, ("chief", 0), ["d:4", *WORKERS], 0),
        ({"worker": WORKERS, "chief": ["d:4"]}, ("worker", 0), ["d:4", *WORKERS], 1),
    ],
)
def test_the_chief_comes_first(monkeypatch, cluster, task, addresses, number):
    own = dict(zip(("type", "index"), task, strict=True))
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": own}))
    assert read_workers() == (addresses, number)


@pytest.mark.parametrize("text", [None, ""])
def test_without_one_there_are_no_workers(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert read_workers() == ([], 0)
