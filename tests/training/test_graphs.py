"""While training runs, the graphs of the CPU are not rewritten; afterwards they are as before."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from fewshot.training.graphs import as_traced


def off() -> bool:
    return bool(tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False))


@pytest.fixture(params=[False, True])
def before(request: pytest.FixtureRequest) -> Any:
    found = off()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": request.param})
    yield request.param
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": found})


def test_it_is_off_inside_and_as_before_outside(before: bool) -> None:
    with as_traced():
        assert off()
    assert off() == before
    with pytest.raises(ZeroDivisionError), as_traced():
        1 / 0  # noqa: B018
    assert off() == before


def test_with_a_gpu_nothing_changes(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with as_traced():
        assert off() == before
