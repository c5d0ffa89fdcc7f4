"""While training runs, the graphs of the CPU are pruned and not rewritten; afterwards they are as before."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from fewshot.training.graphs import only_pruned


def folded() -> bool:
    """Whether constants are folded, which stands for all that rewriting does."""
    return bool(tf.config.optimizer.get_experimental_options().get("constant_folding", True))


def pruned() -> bool:
    """Whether what a graph does not need is dropped."""
    return not tf.config.optimizer.get_experimental_options().get("disable_model_pruning", False)


@pytest.fixture(params=[False, True])
def before(request: pytest.FixtureRequest) -> Any:
    found = folded()
    tf.config.optimizer.set_experimental_options({"constant_folding": request.param})
    yield request.param
    tf.config.optimizer.set_experimental_options({"constant_folding": found})


def test_it_is_off_inside_and_as_before_outside(before: bool) -> None:
    with only_pruned():
        assert not folded()
        assert pruned()
    assert folded() == before
    with pytest.raises(ZeroDivisionError), only_pruned():
        1 / 0  # noqa: B018
    assert folded() == before


def test_with_a_gpu_nothing_changes(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with only_pruned():
        assert folded() == before
