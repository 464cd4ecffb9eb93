"""Answer requests with SavedModels in a process that has TensorFlow and its text ops alone.

    python -I load_alone.py REQUESTS ANSWERS

REQUESTS is a pickled list of (folder, signature, inputs), ANSWERS becomes a pickled dictionary:
``answers``, in the order of the requests; ``ops``, those of all graphs; and ``unknown_ops``, those
of them that TensorFlow does not know before ``tensorflow_text`` is imported.
"""

import pickle
import sys
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry


def ops(folder):
    """Every op of the graph and of the functions that it calls."""
    (meta_graph,) = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs
    graph = meta_graph.graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(n for function in graph.library.function for n in function.node_def)]
    return {node.op for node in nodes} - functions


def main(requests_file, answers_file):
    requests = pickle.loads(Path(requests_file).read_bytes())
    folders = {folder for folder, _, _ in requests}
    used = set().union(*map(ops, folders))
    unknown = {op for op in used if op_def_registry.get(op) is None}

    import tensorflow_text  # noqa: F401 - registers its ops

    models = {folder: tf.saved_model.load(str(folder)) for folder in folders}
    answers = []
    for folder, signature, inputs in requests:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        answer = models[folder].signatures[signature](**tensors)
        answers.append({name: value.numpy() for name, value in answer.items()})

    ours = [name for name in sys.modules if name.split(".")[0] == "tf_distilbert"]
    assert not ours, ours
    found = {"answers": answers, "ops": used, "unknown_ops": unknown}
    Path(answers_file).write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
