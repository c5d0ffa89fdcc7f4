from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import meta_step
from benchmarks.peers import protocol

ROOT = Path(__file__).resolve().parent.parent.parent
RESULT = meta_step.Result("a", "1", loss=2.0, gradient_norm=3.0, loss_after_update=1.9)


def test_the_problem_is_the_same_every_time_and_has_every_parameter() -> None:
    first, second = protocol.make_problem(), protocol.make_problem()
    assert {*protocol.parameter_names(), "support_x", "support_y", "query_x", "query_y"} == set(first)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["support_x"].shape == (4, 5, 28, 28, 1)
    assert first["query_y"].shape == (4, 75)


def test_a_forward_pass_has_the_operations_counted_by_hand() -> None:
    # The last block: 3x3 pixels, of whose 81 pairs of tap and pixel 49 fall inside the image.
    size_3, size_7 = 2 * 49 * 64 * 64, 2 * 361 * 64 * 64
    size_14, size_28 = 2 * 1600 * 64 * 64, 2 * 6724 * 64
    queries, support = 75, 5
    deep = (9 * support + 3 * queries) * (size_3 + size_7 + size_14 + 2 * 64 * 5)
    assert protocol.flops_per_task() == deep + (4 * support + 2 * queries) * size_28


def test_contenders_that_disagree_are_not_compared() -> None:
    meta_step.check_agreement([RESULT, replace(RESULT, name="b", loss=2.0001)])
    for quantity in ("loss", "gradient_norm"):
        other = replace(RESULT, name="b", **{quantity: getattr(RESULT, quantity) * 1.001})
        with pytest.raises(meta_step.BenchmarkError, match=f"a and b do not compute the same: {quantity}"):
            meta_step.check_agreement([RESULT, other])
    with pytest.raises(meta_step.BenchmarkError, match="nan"):
        meta_step.check_agreement([RESULT, replace(RESULT, name="b", loss=float("nan"))])


def test_the_ratio_is_to_the_fastest_peer_round_by_round() -> None:
    ours = replace(RESULT, name="fewshot", rates=[30.0, 20.0, 40.0])
    slow, fast = (
        replace(RESULT, name="slow", rates=[9.0, 9.0, 9.0]),
        replace(RESULT, name="fast", rates=[15.0, 16.0, 10]),
    )
    report = meta_step.compare([ours, slow, fast], [200.0, 200.0, 200.0])
    assert report["fastest_peer"] == "fast"
    assert report["ratios"] == [2.0, 1.25, 4.0]
    assert report["ratio"] == 2.0
    assert "fewshot / fast" in meta_step.as_markdown(report)


@pytest.mark.slow
def test_our_own_contender_starts_and_finds_a_gradient() -> None:
    command = [sys.executable, "benchmarks/meta_step.py", "--check", "--only", "fewshot"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "gradient norm 26.756" in result.stdout
