"""The graph of a SavedModel as TF Serving's loader takes it, run so that each run can be stopped alone.

Not the functions that `tf.saved_model.load` gives: any tensor of this graph can be fed and fetched, shapes are not held
against the signature, and errors have the C++ runtime's sentences, as in TF Serving. Not a session either: a session
stops all of its runs or none. So what is fed and fetched becomes a function, once, and functions can be stopped.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.eager import context, execute
from tensorflow.python.eager.cancellation import CancellationManager
from tensorflow.python.saved_model import load_v1_in_v2

from fewshot.exported.saved_model import without_gradient_warnings
from fewshot.exported.status import invalid

MOST_FUNCTIONS = 64
"""Clients choose what is fetched; what was not for long is made again."""
EMPTY_MEANS_SCALAR = 24
"""Version of TensorFlow's graphs from which on a placeholder's empty shape is that of a scalar."""
RESOURCES = ("VarHandleOp", "HashTableV2", "MutableHashTableV2")


class _Loader(load_v1_in_v2._EagerSavedModelLoader):
    """TensorFlow's own, which makes functions of all signatures at once; here they are made when they are asked for."""

    def _extract_signatures(self, wrapped: Any, meta_graph_def: Any) -> dict[str, Any]:
        return {}


class Graph:
    """A graph and its variables. Many threads may run it at once.

    Attributes:
        signatures: By name.
    """

    def __init__(self, folder: Path, tags: Sequence[str]) -> None:
        """Load a SavedModel.

        Args:
            folder: Of the SavedModel.
            tags: Of the graph in it.

        Raises:
            RuntimeError: if no graph has these tags.
            OSError: if it is damaged.
            tf.errors.OpError: if its variables cannot be restored.
        """
        loader = _Loader(str(folder))
        meta_graph = loader.get_meta_graph_def_from_tags(list(tags))
        # The graph's own description is often the largest part of a small model, and nobody asks for it again.
        self.signatures = {
            key: meta_graph_pb2.SignatureDef.FromString(value.SerializeToString())
            for key, value in meta_graph.signature_def.items()
        }
        _spell_out_shapes(meta_graph.graph_def)
        with without_gradient_warnings():
            self._root = loader.load(list(tags))
        self._making = threading.Lock()
        self._function = functools.lru_cache(MOST_FUNCTIONS)(self._make)

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], stop: CancellationManager
    ) -> list[np.ndarray]:
        """Feed tensors by name and return others, as `Session::Run` does in C++.

        Args:
            feeds: Tensor name to value.
            fetches: Names of the tensors to compute.
            stop: Ends the run before it is done.

        Raises:
            StatusError: INVALID_ARGUMENT if a tensor is not in the graph or a value is not of its type.
            tf.errors.OpError: what the graph raises; CancelledError if it was stopped.
        """
        with self._making:
            function = self._function(tuple(feeds), tuple(fetches))
        inputs = [_tensor(value, fed.dtype) for value, fed in zip(feeds.values(), function.inputs, strict=False)]
        runtime, body = context.context(), function.inference_fn
        found = execute.execute_with_cancellation(
            body.name.decode(),
            num_outputs=len(fetches),
            inputs=[*inputs, *function.captured_inputs],
            attrs=tuple(itertools.chain(*runtime.function_call_options.as_attrs().items())),
            ctx=runtime,
            cancellation_manager=stop,
        )
        # A scalar string comes as bare bytes, which NumPy would cut at a trailing zero.
        values = [tensor.numpy() for tensor in found]
        return [np.asarray(value, object if isinstance(value, bytes) else None) for value in values]

    def close(self) -> None:
        """Let go of the variables, which belong to the process otherwise."""
        held = [op.outputs[0].name for op in self._root.graph.get_operations() if op.type in RESOURCES]
        if held:
            function = self._root.prune([], held)
            for resource in function():
                tf.raw_ops.DestroyResourceOp(resource=resource, ignore_lookup_error=True)
        self._function.cache_clear()
        del self._root

    def _make(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Any:
        graph = self._root.graph
        for name in (*feeds, *fetches):
            try:
                graph.get_tensor_by_name(name)
            except (KeyError, ValueError):
                raise invalid(
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
                ) from None
        return self._root.prune(list(feeds), list(fetches))


def _spell_out_shapes(graph: Any) -> None:
    """Say of old placeholders, whose empty shape means any, that it is any: in a function it would mean a scalar."""
    if graph.versions.producer >= EMPTY_MEANS_SCALAR:
        return
    for node in graph.node:
        if node.op == "Placeholder" and not node.attr["shape"].shape.dim:
            node.attr["shape"].shape.unknown_rank = True


def _tensor(value: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    try:
        return tf.constant(value, dtype)
    except (TypeError, ValueError):
        raise invalid(f"Expected a value of type {dtype.name}; received {value.dtype.name}.") from None
