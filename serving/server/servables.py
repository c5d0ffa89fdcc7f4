"""One loaded version of a model: a SavedModel in a session of its own, as TF Serving's loader holds it.

A session, and not the functions that `tf.saved_model.load` gives, because it behaves as TF Serving does: any tensor of
the graph can be fed, shapes are not held against the signature, errors have the C++ runtime's sentences, and a run
past its time is stopped between two operations.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session

from fewshot.exported.status import StatusError, invalid


@dataclass
class Servable:
    """A version that can be run, by many threads at once.

    Attributes:
        name: The model's name.
        version: Its number.
        signatures: The graph's signatures by name.
        session: Holds graph and variables.
    """

    name: str
    version: int
    signatures: Mapping[str, meta_graph_pb2.SignatureDef]
    session: tf.compat.v1.Session
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _users: int = 0
    _retired: bool = False

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], *, deadline: float | None = None
    ) -> list[np.ndarray]:
        """Feed tensors by name and return others, as `Session::Run` does in C++.

        Args:
            feeds: Tensor name to value.
            fetches: Names of the tensors to compute.
            deadline: On the monotonic clock, in seconds; None for no limit.

        Raises:
            StatusError: DEADLINE_EXCEEDED if there is no time left, INVALID_ARGUMENT if a tensor is not in the graph.
            tf.errors.OpError: what the graph raises.
        """
        options = None
        if deadline is not None:
            left = int((deadline - time.monotonic()) * 1000)
            if left <= 0:
                raise StatusError("DEADLINE_EXCEEDED", "The deadline passed before the model was run.")
            serialized = tf.compat.v1.RunOptions(timeout_in_ms=left).SerializeToString()
            options = pywrap_tf_session.TF_NewBufferFromString(serialized)
        try:
            # The public `run` refuses what does not fit a tensor's static shape, which the C++ runtime does not.
            found = self.session._call_tf_sessionrun(
                options,
                {self._handle(name): value for name, value in feeds.items()},
                [self._handle(name) for name in fetches],
                [],
                None,
            )
            # A scalar string comes as bare bytes, which NumPy would cut at a trailing zero.
            return [np.asarray(value, object if isinstance(value, bytes) else None) for value in found]
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)

    @contextmanager
    def in_use(self) -> Iterator[Servable]:
        """Keep the session open while a request runs in it."""
        with self._lock:
            if self._retired and not self._users:
                raise StatusError("UNAVAILABLE", f"Version {self.version} of {self.name} was unloaded. Try again.")
            self._users += 1
        try:
            yield self
        finally:
            with self._lock:
                self._users -= 1
                last = self._retired and not self._users
            if last:
                self.session.close()

    def retire(self) -> None:
        """Close the session as soon as nobody runs in it."""
        with self._lock:
            self._retired = True
            idle = not self._users
        if idle:
            self.session.close()

    def _handle(self, name: str) -> object:
        try:
            return self.session.graph.get_tensor_by_name(name)._as_tf_output()
        except (KeyError, ValueError):
            raise invalid(
                f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            ) from None
