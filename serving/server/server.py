"""The embedded server: TF Serving's gRPC and REST APIs over exported models, in one process.

One event loop listens, reads and writes; TensorFlow runs in a bounded pool of threads; one thread looks for versions.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from fewshot.errors import ArtifactError
from fewshot.exported.status import StatusError
from serving.server.config import ServerConfig, read_text_proto, single_model_config
from serving.server.cost import MEGABYTE, Work
from serving.server.flags import ServeOptions, channel_arguments
from serving.server.grpc_api import Health, build_server
from serving.server.handlers import Handlers
from serving.server.keys import ApiKeys
from serving.server.limits import Admission, ServerLimits
from serving.server.loading import LoadOptions, load_version
from serving.server.messages import MonitoringConfig
from serving.server.metrics import Metrics
from serving.server.rest.api import METRICS_PATH, RestApi
from serving.server.rest.guard import Guard, host_names
from serving.server.rest.listening import HttpServer, listen
from serving.server.status import describe
from serving.server.tls import read_tls
from serving.server.traces import OpenTelemetryTraces, Traces
from serving.server.versions import Versions

logger = logging.getLogger("serving")


class ModelServer:
    """A server: `start`, then `stop`, in one event loop.

    Attributes:
        versions: The models it serves.
        metrics: What it measures.
    """

    def __init__(self, options: ServeOptions) -> None:
        """Read keys and certificates; nothing is loaded or listened to yet.

        Raises:
            RecipeError: if keys or certificates cannot be used, or packages for traces are not there.
            StatusError: if the file of certificates is none.
        """
        self.options = options
        self.metrics = Metrics()
        load = partial(load_version, options=_load_options(options), warm_up_latency=self.metrics.warm_up)
        self.versions = Versions(
            load,
            poll_seconds=options.file_system_poll_wait_seconds,
            retries=options.max_num_load_retries,
            retry_seconds=max(options.load_retry_interval_micros, 0) / 1e6,
            labels_before_load=options.allow_version_labels_for_unavailable_models,
        )
        self._admission = Admission(_limits(options))
        self._traces = OpenTelemetryTraces() if options.enable_traces else Traces()
        self._handlers = Handlers(self.versions, self._admission, self.metrics, self._traces)
        self._keys = ApiKeys(Path(options.api_key_file)) if options.api_key_file else None
        self._tls = read_tls(Path(options.ssl_config_file)) if options.ssl_config_file else None
        self._grpc: Any = None
        self._health: asyncio.Task[None] | None = None
        self._rest: HttpServer | None = None
        self._rest_task: asyncio.Task[None] | None = None
        self._stopping = threading.Event()

    async def start(self) -> None:
        """Load the models, then listen.

        Raises:
            StatusError: if the configuration is wrong or a model does not load.
            ArtifactError: if a port is taken.
        """
        config = self._read_config()
        metrics_path = _metrics_path(self.options.monitoring_config_file)
        await asyncio.to_thread(self.versions.start, config)
        self.versions.watch()
        if self.options.model_config_file and self.options.model_config_file_poll_wait_seconds > 0:
            threading.Thread(target=self._watch_config, name="config", daemon=True).start()
        if self.options.port or self.options.grpc_socket_path:
            await self._start_grpc()
        if self.options.rest_api_port:
            await self._start_rest(metrics_path)

    async def stop(self) -> None:
        """Take no more requests, let those that run finish, and unload the models."""
        self._handlers.draining = True
        self._stopping.set()
        if self._rest is not None and self._rest_task is not None:
            self._rest.should_exit = True
        if self._grpc is not None:
            await self._grpc.stop(self.options.drain_seconds)
        if self._rest_task is not None:
            await self._rest_task
        if self._health is not None:
            self._health.cancel()
        self._handlers.close()
        await asyncio.to_thread(self.versions.stop)
        await asyncio.to_thread(self._traces.close)
        if self.options.grpc_socket_path:
            Path(self.options.grpc_socket_path).unlink(missing_ok=True)

    @property
    def busy(self) -> bool:
        """Whether TensorFlow still computes for somebody."""
        return self._admission.pending > 0

    def _read_config(self) -> ServerConfig:
        if not self.options.model_config_file:
            for name, base in self.options.models.items():
                logger.info(
                    "Building single TensorFlow model file config:  model_name: %s model_base_path: %s", name, base
                )
            return single_model_config(self.options.models)
        return read_text_proto(Path(self.options.model_config_file), ServerConfig())

    def _watch_config(self) -> None:
        while not self._stopping.wait(self.options.model_config_file_poll_wait_seconds):
            try:
                self.versions.configure(self._read_config())
            except StatusError as error:
                logger.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", error)

    async def _start_grpc(self) -> None:
        arguments = channel_arguments(self.options.grpc_channel_arguments)
        told = Health(self._handlers)
        self._grpc = build_server(self._handlers, arguments, told, self._keys)
        address = f"{self.options.host}:{self.options.port}"
        try:
            if self.options.port:
                if self._tls is None:
                    self._grpc.add_insecure_port(address)
                else:
                    self._grpc.add_secure_port(address, self._tls.grpc_credentials())
            if self.options.grpc_socket_path:
                self._grpc.add_insecure_port(f"unix:{self.options.grpc_socket_path}")
        except RuntimeError:
            raise ArtifactError(
                f"Failed to start the gRPC server at {address}: the port is taken, or not ours."
            ) from None
        self._health = asyncio.create_task(told.follow())
        await self._grpc.start()
        if self.options.port:
            logger.info("Running gRPC ModelServer at %s ...", address)
        if self.options.grpc_socket_path:
            logger.info("Running gRPC ModelServer at UNIX socket %s ...", self.options.grpc_socket_path)

    async def _start_rest(self, metrics_path: str | None) -> None:
        options = self.options
        api = RestApi(
            self._handlers,
            timeout=options.rest_api_timeout_in_ms / 1000,
            patience=options.slow_client_seconds,
            cors=options.rest_api_enable_cors_support,
            metrics_path=metrics_path,
        )
        listener = listen(options.host, options.rest_api_port)
        guarded = Guard(api, hosts=host_names(options.host, options.allowed_hosts), keys=self._keys)
        self._rest = HttpServer(
            guarded, tls=self._tls, patience=options.slow_client_seconds, drain=options.drain_seconds
        )
        self._rest_task = asyncio.create_task(self._rest.serve(sockets=[listener]))
        while not self._rest.started and not self._rest_task.done():
            await asyncio.sleep(0.01)
        name = "localhost" if options.host in ("127.0.0.1", "0.0.0.0") else options.host
        logger.info("Exporting HTTP/REST API at:%s:%d ...", name, options.rest_api_port)


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT, then drain and end the process; a second signal ends it at once.

    Raises:
        FewshotError: if the server cannot start.
    """
    _log_as_tf_serving()
    _set_threads(options)
    try:
        asyncio.run(_serve(options))
    except StatusError as error:
        raise ArtifactError(f"Failed to start server. Error: {describe(error)}") from None
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is closed; Python would take seconds to take TensorFlow apart


async def _serve(options: ServeOptions) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    server = ModelServer(options)

    def on_signal(number: int) -> None:
        if asked.is_set():
            os._exit(128 + number)
        logger.info("%s: finishing the requests that run.", signal.Signals(number).name)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    starting = asyncio.create_task(server.start())
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if starting.done():
            await starting
            # What is there now stays: looking through all of TensorFlow for garbage would halt requests for 0.3 s.
            gc.freeze()
            await waiting
    finally:
        if not starting.done():  # told to stop while loading: nobody is served yet
            os._exit(0)
        waiting.cancel()
        await server.stop()
    if server.busy:
        logger.warning("Some requests did not finish in time; they end with the process.")


def _limits(options: ServeOptions) -> ServerLimits:
    largest = options.max_request_bytes or sys.maxsize
    return ServerLimits(
        # One request is read, or its answer written, while another computes.
        workers=options.max_concurrent or 2 * len(os.sched_getaffinity(0)),
        queue=options.max_queue,
        request_bytes=largest,
        pending_bytes=max(4 * largest, 1 << 30),
        client_bytes=max(2 * largest, 1 << 29),
        work=Work(options.max_request_gflop, options.max_request_megabytes),
        pending_work=Work(options.max_pending_gflop, options.max_pending_megabytes or _memory() / 2),
    )


def _memory() -> float:
    """Return the megabytes that this process may have: the machine's, or its container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        machine = min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return machine / MEGABYTE


def _load_options(options: ServeOptions) -> LoadOptions:
    return LoadOptions(
        tags=tuple(options.saved_model_tags.split(",")),
        warm_up_iterations=max(options.num_request_iterations_for_warmup, 1) if options.enable_model_warmup else 0,
    )


def _set_threads(options: ServeOptions) -> None:
    """Give TensorFlow its threads, which all models share; 0 lets it choose."""
    both = options.tensorflow_session_parallelism
    if within := options.tensorflow_intra_op_parallelism or both:
        tf.config.threading.set_intra_op_parallelism_threads(within)
    if between := options.tensorflow_inter_op_parallelism or both:
        tf.config.threading.set_inter_op_parallelism_threads(between)


def _metrics_path(file: str) -> str | None:
    if not file:
        return METRICS_PATH
    prometheus = read_text_proto(Path(file), MonitoringConfig()).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


class _Line(logging.Formatter):
    """A line as TF Serving logs it: `2024-05-04 03:02:01.123456: I serving/server/server.py:42] words`."""

    default_msec_format = "%s.%03d000"


def _log_as_tf_serving() -> None:
    tf.get_logger().setLevel(logging.ERROR)  # the loader's note on its own age
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(asctime)s: %(levelname).1s %(name)s/%(filename)s:%(lineno)d] %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
