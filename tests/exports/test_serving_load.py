"""A minute of many clients and much junk: no error, no NaN, and memory that stays where it is."""

import sys
import time

import numpy as np
import pytest

SECONDS = 60
WARM_UP_SECONDS = 15
# Memory is the median of so many seconds: after the warm-up, and at the end.
MEDIAN_SECONDS = 10
CLIENTS = 8
MAX_GROWTH = 0.02

# What grows towards a limit of its own is kept out, so that what is left shows a leak. With oneDNN,
# which seems to keep something for each shape that it has met, the server grew by 4 to 9 % in the
# first minute and by 2 % in the next two. And glibc gives threads heaps of their own, each of which
# keeps what the longest text took that came its way.
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_ARENA_MAX": "2"}

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]


def test_memory_stays_bounded_under_load(tmp_path, capsys):
    pytest.importorskip("tensorflow_serving")
    from support.serving.exports import write_export
    from support.serving.load import SIGNATURES, Clients, MemoryWatch
    from support.serving.server_process import ServerProcess

    folders = [write_export(name, tmp_path).folder for name in SIGNATURES]
    with ServerProcess(folders, tmp_path, **ENVIRONMENT) as server:
        clients = Clients(CLIENTS, server.ports[0])
        memory = MemoryWatch(server.process.pid)
        memory.start()
        clients.start()
        time.sleep(SECONDS)
        clients.stop()
        memory.stop()

    before = memory.median(WARM_UP_SECONDS, WARM_UP_SECONDS + MEDIAN_SECONDS)
    after = memory.median(SECONDS - MEDIAN_SECONDS, SECONDS)
    seconds = np.array(clients.seconds)
    with capsys.disabled():
        rate = len(seconds) / SECONDS
        print(f"\n{CLIENTS} clients, {len(seconds)} requests, {rate:.0f} a second")
        quantiles = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
        figures = (f"{k} {1000 * np.percentile(seconds, q):.0f} ms" for k, q in quantiles.items())
        print("latency:", ", ".join(figures))
        mebibytes = (f"{size / 2**20:.1f}" for size in (before, after))
        print("resident memory after warm-up, at the end (MiB):", *mebibytes)
    assert not clients.errors, clients.errors[:5]
    assert after <= before * (1 + MAX_GROWTH)
