"""Compile ``predict.c`` against the libraries of TensorFlow's wheel, and ask it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text

SOURCES = ("predict.c", "signature.c", "tensor_text.c", "fail.c")

# Those that the graphs need, of those that TensorFlow Serving links.
LIBRARIES = ("_fast_bert_normalizer.so", "_fast_wordpiece_tokenizer.so")

_TYPES = {"float32": np.float32, "int32": np.int32, "string": object}


def compile_program(folder):
    """Compile it into `folder`; a warning is an error."""
    here, program, libraries = Path(__file__).parent, folder / "predict", tf.sysconfig.get_lib()
    # The usual linker takes seconds to read TensorFlow's gigabyte.
    linker = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []
    subprocess.run(
        [
            *("gcc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O1"),
            *("-Wall", "-Wextra", "-Wpedantic", "-Werror"),
            *("-isystem", tf.sysconfig.get_include()),
            *(str(here / source) for source in SOURCES),
            *("-o", str(program), f"-L{libraries}", f"-Wl,-rpath,{libraries}"),
            *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", *linker),
        ],
        check=True,
    )
    return program


def start(program, folder, requests, libraries=LIBRARIES):
    """Run it on (signature, inputs); give what `subprocess.run` does."""
    ops = Path(tensorflow_text.__file__).parent / "python" / "ops"
    lines = [line for signature, inputs in requests for line in _request(signature, inputs)]
    return subprocess.run(
        [program, folder, *(ops / library for library in libraries)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=120,
    )


def predict(program, folder, requests):
    """Give the answers to (signature, inputs): arrays by name."""
    finished = start(program, folder, requests)
    assert finished.returncode == 0, finished.stderr
    answers, answer, lines = [], {}, iter(finished.stdout.split("\n")[:-1])
    for line in lines:
        if line == "done":
            answers.append(answer)
            answer = {}
            continue
        name, data_type, _, *shape = line.split()
        shape = [int(dimension) for dimension in shape]
        elements = [next(lines) for _ in range(int(np.prod(shape)))]
        if data_type == "string":
            elements = [bytes.fromhex(element) for element in elements]
        answer[name] = np.array(elements).astype(_TYPES[data_type]).reshape(shape)
    return answers


def _request(signature, inputs):
    yield f"signature {signature}"
    for name, values in inputs.items():
        data_type = "string" if values.dtype == object else values.dtype
        yield " ".join(map(str, (name, data_type, values.ndim, *values.shape)))
        yield from (v.hex() if isinstance(v, bytes) else str(v) for v in values.flat)
    yield "run"
