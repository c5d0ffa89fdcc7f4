from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import label


def test_the_scene_is_of_the_classes(tmp_path: Path) -> None:
    scene, truth = label.make_scene(tmp_path, 100)
    assert (scene.exists(), truth.shape, set(np.unique(truth))) == (True, (100, 100), {0, 1, 2, 3})


def test_the_middle_and_the_slow_end() -> None:
    assert label.quantiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 2.9}


@pytest.mark.slow
def test_tiles_and_edits_are_measured_over_http(tmp_path: Path) -> None:
    scene, _ = label.make_scene(tmp_path, 600)
    tiles = label.measure_tiles(scene, tmp_path, 600, 5)
    assert all(value > 0 for value in tiles.values())
    edits = label.measure_edits(scene, tmp_path, 20)
    assert len(edits["memory after a tenth, a half and all, MB"]) == 3
    assert edits["last tenth, s"]["p50"] > 0
