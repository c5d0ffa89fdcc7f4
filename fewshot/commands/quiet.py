"""TensorFlow without the notices that it writes as it starts, whatever `TF_CPP_MIN_LOG_LEVEL` says.

What it logs before its logging begins, and that there is no GPU, goes to standard error in any case
(github.com/tensorflow/tensorflow/issues/100442): seven lines before the first line of every command.
"""

import faulthandler
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from tempfile import TemporaryFile
from types import ModuleType

_NAME = "tensorflow"
_NOTICE = re.compile(
    rb"(WARNING: All log messages before absl|[IW]\d{4} \d|E\d{4} .*cuInit.*\(303\))"
)  # 303: no driver
_LEVEL = 2  # of TF_CPP_MIN_LOG_LEVEL, from which on information and warnings are not wanted


def quiet_tensorflow() -> None:
    """Leave the notices out when TensorFlow is imported, unless the environment asks for them."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", str(_LEVEL))
    if _NAME not in sys.modules and level.isdecimal() and int(level) >= _LEVEL:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow for the loader below."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(Loader):
    """Loads a module without what is in `_NOTICE`."""

    def __init__(self, usual: Loader) -> None:
        self._usual = usual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._usual
        with without_notices():
            self._usual.exec_module(module)
            module.config.list_physical_devices()  # what it would say of GPUs at the first computation


@contextmanager
def without_notices() -> Iterator[None]:
    """Keep what anybody writes to standard error, and write it in the end, without the notices.

    Where the process is aborted meanwhile, Python says where; `TF_CPP_MIN_LOG_LEVEL=0` shows the rest.
    """
    with ExitStack() as opened:
        try:
            sys.stderr.flush()
            kept = opened.enter_context(TemporaryFile())
            usual = opened.enter_context(os.fdopen(os.dup(2), "wb"))
            os.dup2(kept.fileno(), 2)
        except (AttributeError, OSError):  # no standard error, or nowhere to keep it
            yield
            return
        aborts = not faulthandler.is_enabled()
        if aborts:
            faulthandler.enable(usual)
        try:
            yield
        finally:
            if aborts:
                faulthandler.disable()
            with suppress(OSError):
                sys.stderr.flush()
            os.dup2(usual.fileno(), 2)
            kept.seek(0)
            with suppress(OSError):
                usual.writelines(line for line in kept if not _NOTICE.match(line))
                usual.flush()
