"""A command's output begins with its own words, not with TensorFlow's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fewshot.commands.quiet import without_notices

SAID = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795875736.178222   16472 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795875739.371061   16472 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)
E0000 00:00:1795875739.371061   16472 cuda_dnn.cc:8579] a library does not fit
E0000 00:00:1795875739.371061   16472 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_SYSTEM_NOT_READY (802)
a line of somebody else
"""
KEPT = SAID[SAID.index("E0000 00:00:1795875739.371061   16472 cuda_dnn") :]


def test_notices_are_left_out_and_all_else_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError):
        with without_notices():
            os.write(2, SAID.encode())
            raise ImportError("no such library")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == f"{KEPT}afterwards\n"


@pytest.mark.slow
@pytest.mark.parametrize("level", ["", "0"])
def test_tensorflow_is_imported_quietly_and_as_ever(level: str) -> None:
    done = import_tensorflow(level)
    assert done.stdout.split() == ["SourceFileLoader", "SourceFileLoader", "3"]
    assert bool(done.stderr) == (level == "0")


@pytest.mark.slow
def test_without_standard_error_it_is_imported_too() -> None:
    assert import_tensorflow("", closing="import os; os.close(2); sys.stderr = None").stdout.endswith("3\n")


def import_tensorflow(level: str, closing: str = "") -> subprocess.CompletedProcess[str]:
    """Import it as a command does, with this TF_CPP_MIN_LOG_LEVEL, and compute something."""
    code = (
        f"import cli, importlib.util, sys; {closing}\n"
        "importlib.util.find_spec('tensorflow')\n"  # who only looks whether it is there changes nothing
        "import tensorflow as tf\n"
        "print(type(tf.__spec__.loader).__name__, type(tf.__loader__).__name__, int(tf.reduce_sum([1, 2])))"
    )
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    env |= {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
