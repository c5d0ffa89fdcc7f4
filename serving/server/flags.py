"""The options of `fewshot serve`: TF Serving's flags by their own names, and a few of ours.

A script that starts `tensorflow_model_server` can start `fewshot serve` unchanged: flags that have no meaning here are
accepted with one line of warning, and one that would weaken what was asked for (encryption) is refused.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from fewshot.errors import ArtifactError, RecipeError
from fewshot.exported.versions import version_folders
from serving.server.links import require_inside

logger = logging.getLogger("serving")


@dataclass(frozen=True)
class Flag:
    """One option.

    Attributes:
        name: As TF Serving spells it; with dashes for underscores it works too.
        default: Also says its type.
        help: What it does; empty for a flag that is only accepted.
        refused: Why it is not accepted when it is set.
    """

    name: str
    default: int | float | str | bool
    help: str = ""
    refused: str = ""


@dataclass(frozen=True)
class ServeOptions:
    """Everything a server is started with: the flags that do something, by the name that TF Serving gives them.

    Attributes:
        models: Base path by model name, where there is no configuration file.
    """

    models: Mapping[str, Path]
    port: Annotated[int, "gRPC port; 0 for no gRPC."] = 8500
    rest_api_port: Annotated[int, "REST port; 0 for no REST."] = 8501
    host: Annotated[str, "Address to listen on; 0.0.0.0 lets other machines in."] = "127.0.0.1"
    allow_anyone: Annotated[bool, "Let other machines in without --api_key_file."] = False
    api_key_file: Annotated[str, "SHA-256 of each key that clients may show, one a line; read again when changed."] = ""
    ssl_config_file: Annotated[str, "Text SSLConfig: key and certificates of gRPC and REST, as PEM texts."] = ""
    allowed_hosts: Annotated[
        str, "Names that REST may be called by, separated by commas; this machine's own on 127.0.0.1, else any."
    ] = ""
    model_config_file: Annotated[str, "Text ModelServerConfig: several models, version policies, labels."] = ""
    model_config_file_poll_wait_seconds: Annotated[
        float, "Read that file again every so many seconds; 0 for never."
    ] = 0
    monitoring_config_file: Annotated[str, "Text MonitoringConfig: where the Prometheus metrics are."] = ""
    enable_traces: Annotated[
        bool, "Send OpenTelemetry traces, to where OTEL_EXPORTER_OTLP_ENDPOINT says; needs fewshot[telemetry]."
    ] = False
    rest_api_timeout_in_ms: Annotated[int, "Time for one REST request."] = 30000
    rest_api_enable_cors_support: Annotated[bool, "Let browsers of other sites call the REST API."] = False
    grpc_socket_path: Annotated[str, "Serve gRPC on this UNIX socket too."] = ""
    grpc_channel_arguments: Annotated[str, "gRPC arguments, such as grpc.max_connection_age_ms=2000,..."] = ""
    file_system_poll_wait_seconds: Annotated[float, "Look for new versions every so many seconds; 0 for never."] = 1
    allow_version_labels_for_unavailable_models: Annotated[bool, "Let labels name versions not loaded."] = False
    max_num_load_retries: Annotated[int, "Try so often again to load a version."] = 0
    load_retry_interval_micros: Annotated[int, "Microseconds between two tries."] = 60_000_000
    saved_model_tags: Annotated[str, "Tags of the graph to load, separated by commas."] = "serve"
    enable_model_warmup: Annotated[bool, "Replay the model's warm-up records when it is loaded."] = True
    num_request_iterations_for_warmup: Annotated[int, "Replay each of them so often."] = 1
    tensorflow_session_parallelism: Annotated[
        int, "Threads of TensorFlow, within and between operations; 0 for its choice."
    ] = 0
    tensorflow_intra_op_parallelism: Annotated[int, "Threads within an operation; 0 for TensorFlow's choice."] = 0
    tensorflow_inter_op_parallelism: Annotated[int, "Operations at a time; 0 for TensorFlow's choice."] = 0
    max_concurrent: Annotated[int, "Requests computed at a time; 0 for two a processor."] = 0
    max_queue: Annotated[int, "Requests that may wait; more are refused (RESOURCE_EXHAUSTED, 429)."] = 64
    max_request_gflop: Annotated[
        float, "Most that one request may take to compute, in thousands of millions of operations; 0: by the card."
    ] = 0
    max_request_megabytes: Annotated[float, "Most memory that one request may take to compute; 0: by the card."] = 0
    max_pending_gflop: Annotated[float, "Most that all requests at a time may take to compute."] = 40_000
    max_pending_megabytes: Annotated[
        float, "Most memory that all requests at a time may take to compute; 0: half of the machine's."
    ] = 0
    slow_client_seconds: Annotated[
        float, "Time of a REST client for a request's head, and for a body or an answer slower than 1 KB a second."
    ] = 10.0
    max_request_bytes: Annotated[int, "Largest request; 0 for no limit."] = 256 << 20
    drain_seconds: Annotated[float, "After SIGTERM, let running requests finish for so long."] = 30.0


USED = tuple(
    Flag(name, getattr(ServeOptions, name), hint.__metadata__[0])
    for name, hint in get_type_hints(ServeOptions, include_extras=True).items()
    if get_origin(hint) is Annotated
)
ONE_MODEL = (
    Flag("model_name", "", "Name of the model; the folder's own if not given."),
    Flag("model_base_path", "", "Folder of one model's version folders; FOLDER does the same."),
)
NO_ALTS = "it works within Google's cloud alone; --ssl_config_file encrypts"
REFUSED = (Flag("use_alts_credentials", default=False, refused=NO_ALTS),)
IGNORED = (
    Flag("enable_batching", default=False),
    Flag("batching_parameters_file", ""),
    Flag("enable_per_model_batching_parameters", default=False),
    Flag("rest_api_num_threads", 0),
    Flag("grpc_max_threads", 0),
    Flag("num_load_threads", 0),
    Flag("num_unload_threads", 0),
    Flag("flush_filesystem_caches", default=True),
    Flag("tensorflow_session_config_file", ""),
    Flag("platform_config_file", ""),
    Flag("per_process_gpu_memory_fraction", 0.0),
    Flag("remove_unused_fields_from_bundle_metagraph", default=True),
    Flag("prefer_tflite_model", default=False),
    Flag("use_tflite_model", default=False),
    Flag("num_tflite_pools", 0),
    Flag("num_tflite_interpreters_per_pool", 1),
    Flag("enable_signature_method_name_check", default=False),
    Flag("xla_cpu_compilation_enabled", default=False),
    Flag("enable_profiler", default=True),
    Flag("thread_pool_factory_config_file", ""),
    Flag("force_allow_any_version_labels_for_unavailable_models", default=False),
    Flag("enable_serialization_as_tensor_content", default=False),
    Flag("enable_grpc_healthcheck_service", default=True),
    Flag("skip_initialize_tpu", default=False),
    Flag("mixed_precision", ""),
    Flag("total_model_memory_limit_bytes", 0),
    Flag("http2_max_frame_size", 0),
)
FLAGS = (*USED[:3], *ONE_MODEL, *USED[3:], *REFUSED, *IGNORED)


def read_flags(folder: Path | None, given: Mapping[str, Any]) -> ServeOptions:
    """Return the options of a command line.

    Args:
        folder: What to serve, where it is not named by a flag.
        given: Flag name to value; None for a flag that was not given.

    Raises:
        RecipeError: for a flag that is refused or malformed, or nothing to serve.
        ArtifactError: if the folder holds no model.
        StatusError: PERMISSION_DENIED if one of its models is a link that leads out of it, and it is not in the home
            of this user.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    for flag in REFUSED:
        if chosen.get(flag.name, flag.default) != flag.default:
            raise RecipeError(f"--{flag.name} cannot be served: {flag.refused}.")
    useless = [f"--{flag.name}" for flag in IGNORED if flag.name in chosen]
    if useless:
        logger.warning("%s: accepted for TF Serving's sake, without effect here.", ", ".join(useless))
    _require_keys(chosen)
    channel_arguments(chosen.get("grpc_channel_arguments", ""))
    options = ServeOptions({}, **{flag.name: chosen[flag.name] for flag in USED if flag.name in chosen})
    if options.port == options.rest_api_port != 0:
        raise RecipeError("--rest_api_port cannot be same as --port. Please use a different port for HTTP/REST API.")
    return options if options.model_config_file else replace(options, models=_models(folder, chosen))


def _require_keys(chosen: Mapping[str, Any]) -> None:
    """Refuse to let other machines in by mistake."""
    host = chosen.get("host", ServeOptions.host)
    if is_loopback(host) or chosen.get("api_key_file") or chosen.get("allow_anyone"):
        return
    raise RecipeError(
        f"--host={host} would let anyone who reaches this machine compute on it. Name a file of keys with "
        "--api_key_file, or say --allow_anyone where something else keeps strangers out."
    )


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own, which no other reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel_arguments(text: str) -> dict[str, int | str]:
    """Return gRPC channel arguments from `key=value,key=value`; whole numbers as numbers.

    Raises:
        RecipeError: if a part has no `=`.
    """
    found: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise RecipeError(f"--grpc_channel_arguments: expected key=value,..., received {part!r}.")
        found[key] = int(value) if value.lstrip("-").isdigit() else value
    return found


def _models(folder: Path | None, chosen: Mapping[str, Any]) -> dict[str, Path]:
    name = chosen.get("model_name", "")
    if base := chosen.get("model_base_path"):
        return {name or "default": Path(base).absolute()}
    if folder is None:
        raise RecipeError(
            "There is nothing to serve. Name the FOLDER that `fewshot export` wrote to, or use --model_base_path or "
            "--model_config_file."
        )
    folder = folder.absolute()
    if not folder.is_dir():
        raise ArtifactError(f"There is no folder {folder}. Name the one that `fewshot export` wrote to.")
    if any((folder / file).exists() for file in ("saved_model.pb", "saved_model.pbtxt")):
        raise ArtifactError(f"{folder} is one version of a model; name the folder above it: {folder.parent}.")
    if version_folders(folder):
        return {name or folder.name: folder}
    found = {child.name: child for child in sorted(folder.iterdir()) if child.is_dir() and version_folders(child)}
    for linked in filter(Path.is_symlink, found.values()):
        require_inside(folder, linked)
    if name:
        found = {key: path for key, path in found.items() if key == name}
    if not found:
        wanted = f"model {name!r}" if name else "model"
        raise ArtifactError(
            f"{folder} holds no {wanted}: expected FOLDER/NAME/1/saved_model.pb, which `fewshot export --to FOLDER` "
            "writes."
        )
    return found
