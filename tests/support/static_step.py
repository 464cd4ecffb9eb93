"""What a compiler of fixed shapes (XLA, for a TPU) may not be given, found in what it is given.

A TPU has no host to ask in the middle of a step, and no tensor whose size a number decides. Both
show twice: in TensorFlow's graph as an operation, and in the module of XLA's own language (HLO)
that is made of it, before any device changes it to its liking.
"""

import re

import tensorflow as tf

DYNAMIC_OPS = {
    *("Where", "BooleanMask", "DynamicPartition", "ListDiff", "UniqueDataset", "Bincount"),
    *("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"),
    *("NonMaxSuppressionV3", "NonMaxSuppressionV4", "CTCGreedyDecoder", "Multinomial"),
}
"""Their results' sizes follow from numbers."""

HOST_OPS = {
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"),
    *("Print", "PrintV2", "LogMatrixDeterminant", "WriteFile", "ReadFile", "WriteSummary"),
    *("IteratorGetNext", "OptionalGetValue", "GeneratorDataset", "LookupTableFindV2"),
    *("XlaHostCompute", "HostCompute", "XlaSendToHost", "XlaRecvFromHost"),
    *("OutfeedEnqueue", "OutfeedEnqueueTuple", "InfeedDequeue", "InfeedDequeueTuple"),
}
"""They run on the host, in Python or beside the device."""

# `set-dimension-size` and its like make a dimension of unknown size, `f32[<=8]` is one. The slices
# called dynamic are none: only where they begin is a number.
_DYNAMIC_HLO = {"set-dimension-size", "get-dimension-size", "dynamic-reshape"}
_HOST_HLO = {
    *("infeed", "outfeed", "send", "send-done", "recv", "recv-done", "async-start"),
    "custom-call",
}
_OPCODE = re.compile(r"= .*?[\]})] ([a-z][a-z0-9-]*)\(")
_UNKNOWN_SIZE = re.compile(r"[a-z][a-z0-9]*\[[^\]\"]*<=\d+[^\]\"]*\]")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')


def operations(function):
    """The kinds of operations of a concrete function, and of all functions that it calls."""
    return {node.op for node in all_nodes(function)}


def all_nodes(function):
    graph = function.graph.as_graph_def()
    inner = (node for called in graph.library.function for node in called.node_def)
    return [*graph.node, *inner]


def graph_faults(function):
    """What a concrete function has that cannot be compiled to something static."""
    return sorted(operations(function) & (DYNAMIC_OPS | HOST_OPS))


def opcodes(hlo):
    """The kinds of instructions of a module, in all its computations."""
    return {match[1] for line in hlo.splitlines() if (match := _OPCODE.search(line))}


def hlo_faults(hlo, own_calls=()):
    """What a module has of dynamic shapes and of calls out of the device.

    Args:
        hlo: the module as text.
        own_calls: beginnings of the names of what a device's library computes for it, which an
            optimised module may call.
    """
    found = opcodes(hlo) & (_DYNAMIC_HLO | _HOST_HLO)
    others = [name for name in _TARGET.findall(hlo) if not name.startswith(tuple(own_calls))]
    if own_calls and not others:
        found -= {"custom-call"}
    return sorted({*found, *others, *_UNKNOWN_SIZE.findall(hlo)})


def compiled(step):
    return tf.function(step, jit_compile=True, autograph=False)


def module(function, batch, stage="hlo"):
    """What XLA is given for a compiled function (`hlo`), or makes of it (`optimized_hlo`)."""
    return function.experimental_get_compiler_ir(batch)(stage=stage)


def while_body_operations(function):
    """The kinds of operations within the loops of a concrete function, however deep."""
    graph = function.graph.as_graph_def()
    functions = {called.signature.name: called.node_def for called in graph.library.function}
    waiting, seen = [], set()
    for node in all_nodes(function):
        if node.op in ("While", "StatelessWhile"):
            waiting += [node.attr["body"].func.name, node.attr["cond"].func.name]
    kinds = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in functions[name]:
            kinds.add(node.op)
            for value in node.attr.values():
                called = [value.func, *value.list.func]
                waiting += [f.name for f in called if f.name in functions]
    return kinds
