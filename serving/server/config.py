"""The configuration that says which models and which of their versions to serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2
from tensorflow_serving.config.file_system_storage_path_source_pb2 import FileSystemStoragePathSourceConfig

from fewshot.exported.status import StatusError, invalid

PLATFORM = "tensorflow"
ServerConfig: TypeAlias = model_server_config_pb2.ModelServerConfig
ModelConfig: TypeAlias = model_server_config_pb2.ModelConfig
Policy: TypeAlias = FileSystemStoragePathSourceConfig.ServableVersionPolicy
M = TypeVar("M", bound=Message)


def read_text_proto(path: Path, message: M) -> M:
    """Fill a message from a text file, and return it.

    Raises:
        StatusError: NOT_FOUND if the file is not there, INVALID_ARGUMENT if it is not such a message.
    """
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except FileNotFoundError:
        raise StatusError("NOT_FOUND", f"{path}; No such file or directory") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        name = message.DESCRIPTOR.full_name
        raise invalid(f"Invalid protobuf file: '{path}'. Error parsing text-format {name}: {error}") from None
    return message


def single_model_config(models: Mapping[str, Path]) -> ServerConfig:
    """Return the configuration that serves the newest version of each model, from its base path by its name."""
    config = ServerConfig()
    for name, base in models.items():
        config.model_config_list.config.add(name=name, base_path=str(base), model_platform=PLATFORM)
    return config


def check_config(config: ServerConfig) -> None:
    """Refuse a configuration that cannot be served.

    Raises:
        StatusError: INVALID_ARGUMENT for a name used twice, a relative base path, or another platform than TensorFlow.
    """
    seen: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in seen:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
        if not Path(model.base_path).is_absolute():
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
        _check_platform(model)


def _check_platform(model: ModelConfig) -> None:
    kind, platform = model.model_type, model.model_platform
    if kind and platform:
        raise invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    if kind and kind != model_server_config_pb2.TENSORFLOW:
        raise invalid(f"ModelServerConfig::model_type choice {kind} not supported.")
    if not kind and not platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    if platform not in ("", PLATFORM):
        raise invalid(f"Model {model.name} requests unsupported platform {platform}")


def chosen_versions(policy: Policy, folders: Mapping[int, Path]) -> dict[int, Path]:
    """Return which of the versions there are a policy wants served, newest first: the latest, unless it says more."""
    newest = sorted(folders, reverse=True)
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        chosen = [version for version in newest if version in policy.specific.versions]
    elif kind == "all":
        chosen = newest
    else:
        chosen = newest[: max(policy.latest.num_versions, 1)]
    return {version: folders[version] for version in chosen}
