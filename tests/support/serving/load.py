"""Requests that users and their mistakes send, many at a time, and what a server's memory does."""

import random
import threading
import time
from pathlib import Path
from statistics import median

import grpc
import numpy as np
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from support.serving.server_process import arrays, predict_request

SIGNATURES = {
    "masked_lm": {"serving_default": ("text",)},
    "sequence_classification": {"serving_default": ("text",), "text_pair": ("text", "text_pair")},
    "token_classification": {"serving_default": ("text",)},
    "question_answering": {"serving_default": ("question", "context")},
    "encoder": {"serving_default": ("text",)},
}
_WORDS = (
    *("paris", "is", "the", "capital", "of", "france", ".", "people", "speak", "old", "and"),
    *("new", "language", "[MASK]", "東京", "été"),
)
_LARGE = 100_000


class Clients:
    """Threads that send requests until they are stopped.

    Args:
        count: how many.
        port: of the server.

    Attributes:
        seconds: how long each request took.
        errors: what went wrong.
    """

    def __init__(self, count, port):
        self.seconds, self.errors = [], []
        self._port, self._stopped = port, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(count)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed):
        generator = random.Random(seed)
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
            predict = PredictionServiceStub(channel).Predict
            while not self._stopped.is_set():
                model, signature, inputs = make_request(generator)
                request = predict_request(model, signature, inputs)
                begin = time.monotonic()
                try:
                    answer = arrays(predict(request, timeout=60))
                    self.seconds.append(time.monotonic() - begin)
                    check(answer, len(next(iter(inputs.values()))))
                except Exception as error:
                    self.errors.append((model, signature, repr(error)[:500]))


def make_request(generator):
    """Make up a model's name, a signature's, and its inputs."""
    model = generator.choice(list(SIGNATURES))
    signature, names = generator.choice(list(SIGNATURES[model].items()))
    rows = generator.randint(1, 8)
    texts = {name: [make_text(generator) for _ in range(rows)] for name in names}
    return model, signature, {name: np.array(texts[name], object) for name in names}


def make_text(generator):
    """Make up bytes: mostly a few words, sometimes what a server must live through."""
    kind = generator.random()
    if kind < 0.005:
        piece = generator.choice((b"a", b"\xff", "é ".encode(), b"the [MASK] "))
        return piece * (_LARGE // len(piece))
    if kind < 0.05:
        return b""
    if kind < 0.1:
        return generator.randbytes(generator.randint(1, 300))
    if kind < 0.15:
        return "😀👍🏽🇫🇷".encode() * generator.randint(1, 40)
    if kind < 0.2:
        return b"[MASK] " * generator.randint(1, 60)
    return " ".join(generator.choices(_WORDS, k=generator.randint(1, 120))).encode()


def check(answer, rows):
    """Every output has a row for each text; its numbers are finite."""
    for name, values in answer.items():
        assert len(values) == rows, name
        assert values.dtype == object or np.isfinite(values).all(), name


class MemoryWatch(threading.Thread):
    """Reads a process's resident memory twice a second.

    Attributes:
        samples: seconds since the start, and bytes.
    """

    def __init__(self, process_id):
        super().__init__(daemon=True)
        self.samples, self._stopped = [], threading.Event()
        self._status = Path(f"/proc/{process_id}/status")

    def run(self):
        begin = time.monotonic()
        while not self._stopped.wait(0.5):
            (line,) = (x for x in self._status.read_text().splitlines() if x.startswith("VmRSS"))
            self.samples.append((time.monotonic() - begin, int(line.split()[1]) * 1024))

    def stop(self):
        self._stopped.set()
        self.join()

    def median(self, begin, end):
        """Give the median of what was read between two times."""
        return median(size for at, size in self.samples if begin <= at < end)
