"""Where the time of a request goes, for OpenTelemetry, whose packages are an extra and loaded only when asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from fewshot.errors import RecipeError
from fewshot.exported.status import CODES
from serving.server.status import as_status

SERVICE_NAME = "OTEL_SERVICE_NAME"


class Traces:
    """Follows no request."""

    def request(self, name: str, model: str, sent: Mapping[str, str]) -> AbstractContextManager[None]:
        """Follow a request while it is answered.

        Args:
            name: Of what is asked.
            model: Which is asked.
            sent: Headers or metadata, which may name the client's own trace.
        """
        return nullcontext()

    def part(self, name: str) -> AbstractContextManager[None]:
        """Follow a part of the request that this thread or task works on."""
        return nullcontext()

    def close(self) -> None:
        """Send what is left."""


class OpenTelemetryTraces(Traces):
    """A span for each request, in the client's trace where it names one, and for its parts.

    Where they are sent, how many and with what is said by OpenTelemetry's own variables, OTEL_...
    """

    def __init__(self, processor: Any = None) -> None:
        """Start to send.

        Args:
            processor: Of spans; sends them in batches over OTLP if None.

        Raises:
            RecipeError: if the packages are not there.
        """
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise RecipeError(
                f"--enable_traces needs OpenTelemetry ({error}): pip install 'fewshot[telemetry]'."
            ) from None
        named = {} if SERVICE_NAME in os.environ else {"service.name": "fewshot"}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("fewshot", version("fewshot"))
        self._read, self._trace = propagate.extract, trace

    @contextmanager
    def request(self, name: str, model: str, sent: Mapping[str, str]) -> Iterator[None]:
        """Follow a request; of what goes wrong only the code is kept, since sentences may quote the client."""
        with self._tracer.start_as_current_span(
            name,
            context=self._read(sent),
            kind=self._trace.SpanKind.SERVER,
            attributes={"fewshot.model": model},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            code = "OK"
            try:
                yield
            except BaseException as error:
                code = as_status(error).code
                raise
            finally:
                span.set_attribute("fewshot.code", code)
                if CODES[code].http >= CODES["INTERNAL"].http:  # the server's own fault
                    span.set_status(self._trace.StatusCode.ERROR)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Follow a part of a request."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            yield

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
