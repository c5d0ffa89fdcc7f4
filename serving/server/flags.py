"""The options of `fewshot serve`: TF Serving's flags by their own names, and a few of ours.

A script that starts `tensorflow_model_server` can start `fewshot serve` unchanged: flags that have no meaning here are
accepted with one line of warning, and those that would weaken what was asked for (encryption) are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fewshot.errors import ArtifactError, RecipeError
from fewshot.exported.versions import version_folders

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


NO_ENCRYPTION = "encryption is not offered; put a proxy in front, or use TF Serving"
FLAGS = (
    Flag("port", 8500, "gRPC port; 0 for no gRPC."),
    Flag("rest_api_port", 8501, "REST port; 0 for no REST."),
    Flag("host", "127.0.0.1", "Address to listen on; 0.0.0.0 lets other machines in."),
    Flag("model_name", "", "Name of the model; the folder's own if not given."),
    Flag("model_base_path", "", "Folder of one model's version folders; FOLDER does the same."),
    Flag("model_config_file", "", "Text ModelServerConfig: several models, version policies, labels."),
    Flag("model_config_file_poll_wait_seconds", 0, "Read that file again every so many seconds; 0 for never."),
    Flag("monitoring_config_file", "", "Text MonitoringConfig: where the Prometheus metrics are."),
    Flag("rest_api_timeout_in_ms", 30000, "Time for one REST request."),
    Flag("rest_api_enable_cors_support", default=False, help="Let browsers of other sites call the REST API."),
    Flag("grpc_socket_path", "", "Serve gRPC on this UNIX socket too."),
    Flag("grpc_channel_arguments", "", "gRPC arguments, such as grpc.max_connection_age_ms=2000,..."),
    Flag("file_system_poll_wait_seconds", 1, "Look for new versions every so many seconds; 0 for never."),
    Flag(
        "allow_version_labels_for_unavailable_models",
        default=False,
        help="Let labels name versions not loaded.",
    ),
    Flag("max_num_load_retries", 0, "Try so often again to load a version."),
    Flag("load_retry_interval_micros", 60_000_000, "Microseconds between two tries."),
    Flag("saved_model_tags", "serve", "Tags of the graph to load, separated by commas."),
    Flag("enable_model_warmup", default=True, help="Replay the model's warm-up records when it is loaded."),
    Flag("num_request_iterations_for_warmup", 1, "Replay each of them so often."),
    Flag(
        "tensorflow_session_parallelism", 0, "Threads of TensorFlow, within and between operations; 0 for its choice."
    ),
    Flag("tensorflow_intra_op_parallelism", 0, "Threads within an operation; 0 for TensorFlow's choice."),
    Flag("tensorflow_inter_op_parallelism", 0, "Operations at a time; 0 for TensorFlow's choice."),
    Flag("max_concurrent", 0, "Requests computed at a time; 0 for two a processor."),
    Flag("max_queue", 64, "Requests that may wait; more are refused (RESOURCE_EXHAUSTED, 429)."),
    Flag("max_request_bytes", 256 << 20, "Largest request; 0 for no limit."),
    Flag("drain_seconds", 30.0, "After SIGTERM, let running requests finish for so long."),
    Flag("ssl_config_file", "", refused=NO_ENCRYPTION),
    Flag(
        "use_alts_credentials",
        default=False,
        refused=NO_ENCRYPTION,
    ),
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


@dataclass(frozen=True)
class ServeOptions:
    """Everything a server is started with; the fields are `FLAGS` that do something, and what they mean there.

    Attributes:
        models: Base path by model name, where there is no configuration file.
    """

    models: Mapping[str, Path]
    port: int = 8500
    rest_api_port: int = 8501
    host: str = "127.0.0.1"
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: float = 0
    monitoring_config_file: str = ""
    rest_api_timeout_in_ms: int = 30000
    rest_api_enable_cors_support: bool = False
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    file_system_poll_wait_seconds: float = 1
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 0
    load_retry_interval_micros: int = 60_000_000
    saved_model_tags: str = "serve"
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    max_concurrent: int = 0
    max_queue: int = 64
    max_request_bytes: int = 256 << 20
    drain_seconds: float = 30.0


def read_flags(folder: Path | None, given: Mapping[str, Any]) -> ServeOptions:
    """Return the options of a command line.

    Args:
        folder: What to serve, where it is not named by a flag.
        given: Flag name to value; None for a flag that was not given.

    Raises:
        RecipeError: for a flag that is refused or malformed, or nothing to serve.
        ArtifactError: if the folder holds no model.
    """
    named = {flag.name: flag for flag in FLAGS}
    chosen = {name: value for name, value in given.items() if value is not None}
    useless = []
    for name, value in chosen.items():
        flag = named[name]
        if flag.refused and value != flag.default:
            raise RecipeError(f"--{name} cannot be served: {flag.refused}.")
        if not flag.help and not flag.refused:
            useless.append(f"--{name}")
    if useless:
        logger.warning("%s: accepted for TF Serving's sake, without effect here.", ", ".join(useless))
    channel_arguments(chosen.get("grpc_channel_arguments", ""))
    options = {"port": 8500, "rest_api_port": 8501, **chosen}
    if options["port"] == options["rest_api_port"] != 0:
        raise RecipeError("--rest_api_port cannot be same as --port. Please use a different port for HTTP/REST API.")
    models = {} if chosen.get("model_config_file") else _models(folder, chosen)
    known = {field.name for field in fields(ServeOptions)}
    return ServeOptions(models=models, **{name: value for name, value in chosen.items() if name in known})


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
    if name:
        found = {key: path for key, path in found.items() if key == name}
    if not found:
        wanted = f"model {name!r}" if name else "model"
        raise ArtifactError(
            f"{folder} holds no {wanted}: expected FOLDER/NAME/1/saved_model.pb, which `fewshot export --to FOLDER` "
            "writes."
        )
    return found
