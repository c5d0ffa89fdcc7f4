"""Counters and latencies under the names, labels and buckets of TF Serving, in Prometheus's text format.

`prometheus_client` adds what it knows of the process: memory, processor time, open files. It does not write the
first: it appends `_total` to the name of every counter.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

BUCKETS = [10 * 1.8**power for power in range(33)]  # microseconds; the last is about 20 minutes
COUNTS = [2.0**power for power in range(15)]
MOST_LABELS = 1000  # folders of versions that came and went are labels too
OTHER = "_other"  # stands for whatever is not a model that is served


class _Metric:
    """Values by their labels."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name = ":tensorflow:serving:" + name
        self.labels = tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], Any] = {}

    def lines(self) -> list[str]:
        """Return the metric as text."""
        raise NotImplementedError

    def _key(self, values: tuple[str, ...]) -> tuple[str, ...]:
        full = values not in self._values and len(self._values) >= MOST_LABELS
        return (OTHER, *values[1:]) if full else values

    def _text(self, values: tuple[str, ...]) -> str:
        pairs = zip(self.labels, values, strict=True)
        return ",".join(f'{label}="{_escape(value)}"' for label, value in pairs)


class Counter(_Metric):
    """How often something happened."""

    def add(self, *values: str, count: int = 1) -> None:
        """Count one more, or `count`, under these label values."""
        with self._lock:
            key = self._key(values)
            self._values[key] = self._values.get(key, 0) + count

    def lines(self) -> list[str]:
        """Return the metric as text."""
        with self._lock:
            counts = sorted(self._values.items())
        return [f"# TYPE {self.name} counter", *(f"{self.name}{{{self._text(k)}}} {n}" for k, n in counts)]


class Sampler(_Metric):
    """How values are distributed."""

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float] = BUCKETS) -> None:
        """Begin at nothing.

        Args:
            name: After the common prefix.
            labels: Their names.
            limits: Upper limits of the buckets but the last.
        """
        super().__init__(name, labels)
        self._limits = list(limits)

    def add(self, *values: str, sample: float) -> None:
        """Add a sample under these label values."""
        with self._lock:
            key = self._key(values)
            buckets, total = self._values.setdefault(key, ([0] * (len(self._limits) + 1), [0.0]))
            buckets[bisect.bisect_right(self._limits, sample)] += 1
            total[0] += sample

    def lines(self) -> list[str]:
        """Return the metric as text."""
        found = [f"# TYPE {self.name} histogram"]
        with self._lock:
            samples = sorted((key, list(buckets), total[0]) for key, (buckets, total) in self._values.items())
        for key, buckets, total in samples:
            labels = self._text(key)
            counts = list(itertools.accumulate(buckets))
            for limit, count in zip([*(f"{limit:g}" for limit in self._limits), "+Inf"], counts, strict=True):
                found.append(f'{self.name}_bucket{{{labels},le="{limit}"}} {count}')
            found += [f"{self.name}_sum{{{labels}}} {total:g}", f"{self.name}_count{{{labels}}} {counts[-1]}"]
        return found


class Metrics:
    """Everything that is measured of one server."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.requests = Counter("request_count", ("model_name", "status"))
        self.latency = Sampler("request_latency", ("model_name", "API", "entrypoint"))
        self.runtime = Sampler("runtime_latency", ("model_name", "API", "runtime"))
        self.examples = Sampler("request_example_counts", ("model",), COUNTS)
        self.examples_total = Counter("request_example_count_total", ("model",))
        self.warm_up = Sampler("model_warmup_latency", ("model_path", "status"))
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def page(self) -> str:
        """Return every metric as text."""
        every = (self.requests, self.latency, self.runtime, self.examples, self.examples_total, self.warm_up)
        lines = [line for metric in every for line in metric.lines()]
        return "\n".join(lines) + "\n" + generate_latest(self._process).decode()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
