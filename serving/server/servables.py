"""One loaded version of a model, run by many threads at once and let go when the last of them is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from fewshot.exported.card import Card
from fewshot.exported.status import StatusError
from serving.server.graphs import Graph
from serving.server.stopping import Stop


@dataclass
class Servable:
    """A version that can be run, by many threads at once.

    Attributes:
        name: The model's name.
        version: Its number.
        graph: Holds its signatures and variables.
        card: What the model says of itself, if it is one of ours.
    """

    name: str
    version: int
    graph: Graph
    card: Card | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _users: int = 0
    _retired: bool = False

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """The graph's signatures by name."""
        return self.graph.signatures

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], stop: Stop | None = None
    ) -> list[np.ndarray]:
        """Feed tensors by name and return others.

        Args:
            feeds: Tensor name to value.
            fetches: Names of the tensors to compute.
            stop: Ends the run before it is done; nothing does if None.

        Raises:
            StatusError: DEADLINE_EXCEEDED or CANCELLED if it was stopped, INVALID_ARGUMENT if a tensor is not in the
                graph.
            tf.errors.OpError: what the graph raises.
        """
        stop = stop or Stop()
        stop.check()
        try:
            return self.graph.run(feeds, fetches, stop.manager)
        except tf.errors.CancelledError:
            stop.check()
            raise

    @contextmanager
    def in_use(self) -> Iterator[Servable]:
        """Keep the graph while a request runs in it.

        Raises:
            StatusError: UNAVAILABLE if the version was unloaded meanwhile.
        """
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
                self.graph.close()

    def retire(self) -> None:
        """Let go of the graph as soon as nobody runs in it."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            idle = not self._users
        if idle:
            self.graph.close()
