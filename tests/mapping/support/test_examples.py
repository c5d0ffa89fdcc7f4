from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.exported.card import InputSize
from fewshot.geo import sampling
from fewshot.geo.points import Examples
from fewshot.geo.sampling import find_examples
from fewshot.geo.windows import Window
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.examples import LabelPlan, margin_around, read_support
from tests.mapping.conftest import Case
from tests.mapping.fakes import PATCH, PIXEL, write_points, write_scene


def made(rows: list[int], columns: list[int], labels: list[int]) -> Examples:
    return Examples(np.array(rows), np.array(columns), np.array(labels, np.int32))


def test_patches_are_mirrored_beyond_the_scene(case: Case) -> None:
    scene = open_scene([case.scene], PATCH)
    support, _ = read_support(scene, PATCH, made([40, 89], [69, 3], [0, 1]), LabelPlan(case.labels))
    assert support.x.shape == (2, 8, 8, 2) and support.y.tolist() == [0, 1]
    np.testing.assert_allclose(support.x[0, 4, 4], case.pixels[40, 69], rtol=1e-5)
    np.testing.assert_allclose(support.x[0, :, 5], support.x[0, :, 4])  # the first column beyond the edge
    np.testing.assert_allclose(support.x[1, 5, :], support.x[1, 4, :])


def test_points_label_their_neighbourhood(case: Case) -> None:
    scene = open_scene([case.scene], PIXEL)
    points = made([40, 40, 43, 85], [20, 22, 69, 31], [0, 1, 2, 1])
    support, _ = read_support(scene, PIXEL, points, LabelPlan(case.labels, radius=1))
    assert support.margin == 2 and support.x.shape[1:] == (20, 20, 2) and len(support.x) == len(support.y)
    np.testing.assert_array_equal(support.x[0, 0, 0], case.pixels[30, 14])  # what lies around is seen and not labelled
    whole = np.full((96, 80), -1)
    squares = sorted({(row // 16, column // 16) for row, column in zip(points.rows, points.columns, strict=True)})
    for (row, column), labels in zip(squares, support.y, strict=True):
        whole[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = labels[2:-2, 2:-2]
        assert np.all(labels[[0, 1, -2, -1]] == -1) and np.all(labels[:, [0, 1, -2, -1]] == -1)
    assert whole[39:42, 19:21].tolist() == [[0, 0]] * 3
    assert whole[39:42, 22:24].tolist() == [[1, 1]] * 3
    assert whole[39:42, 21].tolist() == [-1] * 3  # as near to the one as to the other
    assert np.all(whole[:, 70:] == -1) and np.all(whole[90:] == -1)
    # The last point lies at the edge of its picture, and no other picture shows its neighbours beyond it.
    assert (whole >= 0).sum() == 9 + 9 - 6 + 6 + 6


def test_polygons_and_rasters_give_many_examples_but_not_too_many(
    make_case: Callable[..., Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(100, 80)
    from fewshot.geo.landcover import class_table

    table = class_table("t", [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}, {"id": 2, "name": "c"}])
    labels = write_scene(tmp_path / "lc.tif", case.truth.astype(np.uint8), case.grid, names=(), nodata=None)
    scene = open_scene([case.scene], PIXEL)
    found = find_examples(scene, LabelPlan(labels), table, spacing=3)
    assert len(found.examples) == np.count_nonzero(case.pixels.any(axis=-1))
    monkeypatch.setattr(sampling, "_PIXELS_A_CLASS", 100)
    few = find_examples(scene, LabelPlan(labels), table, spacing=3).examples
    assert few.counts(3) == [100, 100, 100]
    assert np.array_equal(case.truth[few.rows, few.columns], few.labels)


def test_a_far_point_does_not_make_a_large_scene_slow(tmp_path: Path, make_case: Callable[..., Case]) -> None:
    """Blocks of a scene without lines or polygons are not looked at."""
    case = make_case()
    scene = open_scene([case.scene], PIXEL)
    from fewshot.geo.landcover import class_table

    reads: list[Window] = []
    real = scene.valid

    def valid(window: Window) -> Any:
        reads.append(window)
        return real(window)

    scene.valid = valid  # type: ignore[method-assign]
    path = write_points(tmp_path / "p.gpkg", case.grid, [(50, 40, "a"), (60, 10, "b")])
    table = class_table("t", [{"name": "a"}, {"name": "b"}])
    found = find_examples(scene, LabelPlan(path), table, spacing=3)
    assert len(found.examples) == 2 and len(reads) == 1


@pytest.mark.parametrize(
    ("rows", "around", "multiple_of", "largest", "margin"),
    [(32, 0, 1, 256, 4), (32, 7, 1, 256, 7), (32, 0, 16, 256, 8), (256, 0, 16, 256, 0), (2, 3, 1, 256, 3)],
)
def test_the_margin_fits_what_the_model_reads(
    rows: int, around: int, multiple_of: int, largest: int, margin: int
) -> None:
    size = InputSize(rows, rows, free=True, largest=largest, multiple_of=multiple_of, around=around)
    assert margin_around(size) == margin
    assert margin_around(replace(size, free=False)) == 0
