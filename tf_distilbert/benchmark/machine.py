"""The machine that a benchmark ran on, and the memory of its processes."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from tf_distilbert.runtime import usable_cores

PACKAGES = (
    *("tf_distilbert", "tensorflow", "keras", "keras-nlp", "tensorflow-text", "numpy"),
    *("jax", "torch", "transformers", "tokenizers", "onnxruntime"),
)
# Which matrix instructions there are decides how fast bfloat16 is.
_NOTABLE_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile")


def describe_machine() -> dict[str, Any]:
    """Give processor, cores, memory, load and versions, as far as the system tells."""
    processor = _colon_table(Path("/proc/cpuinfo"))
    flags = processor.get("flags", "").split()
    return {
        "processor": processor.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in _NOTABLE_FLAGS if flag in flags],
        "cores": usable_cores(),
        "memory_bytes": _memory("MemTotal"),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def available_memory() -> int | None:
    """Give the bytes that new processes can take; None where the system does not tell."""
    return _memory("MemAvailable")


def resident_memory() -> int | None:
    """Give the bytes of memory that this process holds now."""
    return _bytes(_colon_table(Path("/proc/self/status")).get("VmRSS"))


def peak_memory() -> int:
    """Give the most bytes of memory that this process has held at a time."""
    # `ru_maxrss` starts with what the parent held when it made the process; this does not.
    peak = _bytes(_colon_table(Path("/proc/self/status")).get("VmHWM"))
    if peak is not None:
        return peak
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def restart_peak_memory() -> None:
    """Let `peak_memory` count from what is held now; only Linux can."""
    Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int | None:
    return _bytes(_colon_table(Path("/proc/meminfo")).get(name))


def _colon_table(path: Path) -> dict[str, str]:
    """Read lines ``name : value`` up to the first empty one; nothing where there is no file."""
    try:
        text = path.read_text()
    except OSError:
        return {}
    lines = text.split("\n\n")[0].splitlines()
    return {line.split(":")[0].strip(): line.partition(":")[2].strip() for line in lines}


def _bytes(value: str | None) -> int | None:
    return int(value.split()[0]) * 1024 if value else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
