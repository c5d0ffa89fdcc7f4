"""Which versions of which models are served: configuration, polling, labels, states.

A new version is loaded and warmed up before the old one goes; a version that cannot be loaded leaves the old one
serving; a base path that disappears changes nothing.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tensorflow_serving.apis import model_pb2

from fewshot.exported.status import StatusError, invalid
from fewshot.exported.versions import version_folders
from serving.server.config import ModelConfig, Policy, ServerConfig, check_config, chosen_versions
from serving.server.links import link_out
from serving.server.servables import Servable
from serving.server.status import as_status, describe

logger = logging.getLogger("serving")

LONGEST_NAME = 256  # of a model, a signature or a label, as in a file system
Fingerprint: TypeAlias = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class VersionState:
    """Where a version stands.

    Attributes:
        stage: A name of `ModelVersionStatus.State`.
        code: A name of the status codes.
        message: Why, if it failed.
    """

    stage: str
    code: str = "OK"
    message: str = ""


@dataclass
class _Model:
    base: Path
    policy: Policy
    serving: dict[int, Servable] = field(default_factory=dict)
    failed: dict[int, Fingerprint] = field(default_factory=dict)  # version: fingerprint of the files that failed


class Versions:
    """Every model that is served, and its versions. Safe to ask from many threads."""

    def __init__(
        self,
        load: Callable[[str, int, Path], Servable],
        *,
        poll_seconds: float = 1.0,
        retries: int = 0,
        retry_seconds: float = 60.0,
        labels_before_load: bool = False,
    ) -> None:
        """Serve nothing yet.

        Args:
            load: Makes a version of a model from its name, number and folder.
            poll_seconds: Between two looks at the base paths; 0 to look once.
            retries: Loads tried again before a version is given up.
            retry_seconds: Between two tries.
            labels_before_load: Whether a label may be given to a version that is not there yet.
        """
        self._load_version = load
        self._poll_seconds = poll_seconds
        self._retries, self._retry_seconds = retries, retry_seconds
        self._labels_before_load = labels_before_load
        self._models: dict[str, _Model] = {}
        self._states: dict[str, dict[int, VersionState]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()  # guards the three above, for moments only
        self._changing = threading.Lock()  # one change of models at a time, as long as loading takes
        self._stopping = threading.Event()

    def find(self, spec: model_pb2.ModelSpec) -> Servable:
        """Return the version that a request names by number, by label, or not at all: then the newest.

        Raises:
            StatusError: NOT_FOUND if it is not served, INVALID_ARGUMENT for no name, one that is too long, or an
                unknown label.
        """
        with self._lock:
            return self._find(spec)

    @contextlib.contextmanager
    def using(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Keep the version that a request names while it runs, whatever becomes of its folder meanwhile.

        Raises:
            StatusError: as `find` does.
        """
        with contextlib.ExitStack() as kept:
            with self._lock:  # between these two it could be unloaded
                servable = kept.enter_context(self._find(spec).in_use())
            yield servable

    def _find(self, spec: model_pb2.ModelSpec) -> Servable:
        _require_names(spec)
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        serving = self._models[spec.name].serving if spec.name in self._models else {}
        if choice == "version_label":
            labels = self._labels.get(spec.name, {})
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            wanted: int | None = labels[spec.version_label]
        else:
            wanted = spec.version.value if choice == "version" else max(serving, default=None)
        if wanted in serving:
            return serving[wanted]
        asked = f"Specific({spec.name}, {wanted})" if choice else f"Latest({spec.name})"
        raise StatusError("NOT_FOUND", f"Servable not found for request: {asked}")

    def states(self, spec: model_pb2.ModelSpec) -> dict[int, VersionState]:
        """Return the state of one version, or of all that there ever were, newest first; labels are not looked at.

        Raises:
            StatusError: NOT_FOUND if there is none, INVALID_ARGUMENT for a name that is too long.
        """
        _require_names(spec)
        with self._lock:
            known = dict(self._states.get(spec.name, {}))
        if spec.WhichOneof("version_choice") == "version":
            version = spec.version.value
            if version not in known:
                raise StatusError("NOT_FOUND", f"Could not find version {version} of model {spec.name}")
            return {version: known[version]}
        if not known:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        return {version: known[version] for version in sorted(known, reverse=True)}

    def knows(self, name: str) -> bool:
        """Return whether a model is configured."""
        with self._lock:
            return name in self._models

    def ready(self) -> bool:
        """Return whether every configured model has a version that serves."""
        with self._lock:
            return bool(self._models) and all(model.serving for model in self._models.values())

    def start(self, config: ServerConfig) -> None:
        """Load the models of a configuration for the first time, and wait for those that have no version yet.

        Raises:
            StatusError: if the configuration is wrong, a base path does not exist, or none of a model's versions loads.
        """
        self.configure(config, first=True)
        while not self.ready() and self._models and not self._stopping.is_set():
            for name, model in list(self._models.items()):
                if not model.serving:
                    logger.warning(
                        "No versions of servable %s found under base path %s. Did you forget to name your leaf "
                        "directory as a number (eg. '/1/')?",
                        name,
                        model.base,
                    )
            self._stopping.wait(self._poll_seconds or 1.0)
            before = {name: dict(model.failed) for name, model in self._models.items()}
            self.poll()
            # A version that is still being copied fails once, and then its files change.
            self._require_loaded([name for name, model in self._models.items() if model.failed == before[name]])

    def configure(self, config: ServerConfig, *, first: bool = False) -> None:
        """Serve the models of a configuration, and no others.

        Args:
            config: Models, policies and labels.
            first: Whether this is the start: labels are then given after loading, not before.

        Raises:
            StatusError: INVALID_ARGUMENT if it is wrong, FAILED_PRECONDITION for a label on a version that is not
                served, UNKNOWN if none of a new model's versions loads.
        """
        with self._changing:
            check_config(config)
            wanted = {model.name: model for model in config.model_config_list.config}
            for name, model in wanted.items():
                _require_base(name, model)
            if not first:
                self._set_labels(wanted)
            logger.info("Adding/updating models.")
            new = [name for name in wanted if name not in self._models]
            with self._lock:
                gone = {name: self._models.pop(name) for name in list(self._models) if name not in wanted}
            for name, model in wanted.items():
                logger.info(" (Re-)adding model: %s", name)
                with self._lock:
                    held = self._models.setdefault(name, _Model(Path(model.base_path), model.model_version_policy))
                held.base, held.policy = Path(model.base_path), model.model_version_policy
            for name, old in gone.items():
                self._unload(name, old, list(old.serving))
            self._poll_all()
            self._require_loaded(new)
            if first:
                self._set_labels(wanted)
            logger.info("Finished adding/updating models")

    def poll(self) -> None:
        """Look for new and removed versions once, and load and unload them."""
        with self._changing:
            self._poll_all()

    def watch(self) -> threading.Thread:
        """Poll in a thread of its own until `stop`."""

        def run() -> None:
            while not self._stopping.wait(self._poll_seconds):
                try:
                    self.poll()
                except Exception:
                    logger.exception("Looking for new versions failed; the ones that serve go on.")

        thread = threading.Thread(target=run, name="versions", daemon=True)
        if self._poll_seconds > 0:
            thread.start()
        return thread

    def stop(self) -> None:
        """Stop looking for versions, and close every session when its last request is done."""
        self._stopping.set()
        with self._changing:
            for name, model in list(self._models.items()):
                self._unload(name, model, list(model.serving))

    def _poll_all(self) -> None:
        for name, model in list(self._models.items()):
            try:
                wanted = chosen_versions(model.policy, version_folders(model.base))
            except OSError:
                logger.error(
                    "FileSystemStoragePathSource encountered a filesystem access error: Could not find base path %s "
                    "with error NOT_FOUND: %s not found",
                    model.base,
                    model.base,
                )
                continue
            for version, folder in wanted.items():
                if version not in model.serving and not self._stopping.is_set():
                    self._load(name, model, version, folder)
            model.failed = {version: print_ for version, print_ in model.failed.items() if version in wanted}
            unwanted = [version for version in model.serving if version not in wanted]
            if unwanted and (not wanted or any(version in model.serving for version in wanted)):
                self._unload(name, model, unwanted)

    def _load(self, name: str, model: _Model, version: int, folder: Path) -> None:
        seen = _fingerprint(model.base, folder)
        if model.failed.get(version) == seen:
            return  # it would fail again
        self._note(name, version, VersionState("LOADING"))
        logger.info("Loading servable version {name: %s version: %d}", name, version)
        for attempt in range(self._retries + 1):
            if attempt and self._stopping.wait(self._retry_seconds):
                return
            try:
                servable = self._load_version(name, version, folder)
            except Exception as error:
                status = as_status(error)
                logger.error("Loading servable: {name: %s version: %d} failed: %s", name, version, describe(error))
                continue
            with self._lock:
                model.failed.pop(version, None)
                model.serving = {**model.serving, version: servable}
            self._note(name, version, VersionState("AVAILABLE"))
            logger.info("Successfully loaded servable version {name: %s version: %d}", name, version)
            return
        model.failed[version] = seen
        self._note(name, version, VersionState("END", status.code, str(status)))

    def _unload(self, name: str, model: _Model, versions: list[int]) -> None:
        with self._lock:
            retired = [model.serving[version] for version in versions]
            model.serving = {key: value for key, value in model.serving.items() if key not in versions}
        for servable in retired:
            self._note(name, servable.version, VersionState("UNLOADING"))
            with contextlib.suppress(RuntimeError):
                servable.retire()
            self._note(name, servable.version, VersionState("END"))
            logger.info("Done unloading servable version {name: %s version: %d}", name, servable.version)
        del retired
        if versions:
            gc.collect()  # graph and operations hold each other

    def _note(self, name: str, version: int, state: VersionState) -> None:
        with self._lock:
            self._states.setdefault(name, {})[version] = state

    def _set_labels(self, wanted: dict[str, ModelConfig]) -> None:
        labels: dict[str, dict[str, int]] = {}
        for name, model in wanted.items():
            serving = self._models[name].serving if name in self._models else {}
            for label, version in model.version_labels.items():
                moved = self._labels.get(name, {}).get(label, version) != version
                if version not in serving and (moved or not self._labels_before_load):
                    raise StatusError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {version} of model {name}, which is not currently "
                        "available for inference",
                    )
                labels.setdefault(name, {})[label] = version
        with self._lock:
            self._labels = labels

    def _require_loaded(self, names: list[str]) -> None:
        failed = []
        for name in names:
            model = self._models.get(name)
            if model is None or model.serving or not model.failed:
                continue
            for version in model.failed:
                state = self._states[name][version]
                failed.append(f"{{{{name: {name} version: {version}}} due to error: {state.code}: {state.message}}}, ")
        if failed:
            raise StatusError("UNKNOWN", f"{len(failed)} model(s) did not become available: {{{''.join(failed)}}}")


def _require_names(spec: model_pb2.ModelSpec) -> None:
    """Refuse names that no model has before they get into a message, a metric or a queue."""
    for what, name in (("model", spec.name), ("signature", spec.signature_name), ("label", spec.version_label)):
        if len(name) > LONGEST_NAME:
            raise invalid(f"The {what}'s name has {len(name)} characters; the most is {LONGEST_NAME}.")


def _fingerprint(base: Path, folder: Path) -> Fingerprint:
    """Return what changes when the files of a version change: names, sizes and times; or the link out of its base."""
    try:
        if (link := link_out(base, folder)) is not None:
            return ((str(link), 0, 0),)
        files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    except OSError:  # a file went away between the two looks
        return ()
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files)


def _require_base(name: str, model: ModelConfig) -> None:
    try:
        version_folders(Path(model.base_path))
    except OSError:
        raise invalid(
            f"Could not find base path {model.base_path} for servable {name} with error NOT_FOUND: {model.base_path} "
            "not found"
        ) from None
