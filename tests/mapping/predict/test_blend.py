import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from fewshot.errors import RecipeError, ShapeError
from fewshot.exported.card import Card
from fewshot.exported.predictor import Prediction
from fewshot.geo.windows import Window
from fewshot.mapping.predict import layout as layouts
from fewshot.mapping.predict.blend import assemble, predict_group
from fewshot.mapping.predict.groups import MapPlan
from fewshot.mapping.predict.layout import WindowLayout, WindowPlan, plan_windows
from fewshot.mapping.predict.parts import LEVELS
from fewshot.mapping.predict.turns import short_turns
from fewshot.mapping.scene import open_scene
from tests.mapping.conftest import Case, read, run, values_of
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, adapted_to, write_scene

PLANS = (
    (PIXEL, WindowPlan(size=16, overlap=0)),
    (PIXEL, WindowPlan(size=16, overlap=3)),
    (PIXEL, WindowPlan(size=16, overlap=8)),
    (PIXEL, WindowPlan(size=32, overlap=4)),
    (PATCH, WindowPlan(stride=1)),
    (PATCH, WindowPlan(stride=3)),
    (PATCH, WindowPlan(stride=8)),
)


def cores(layout: WindowLayout) -> list[Window]:
    return [layout.core(group) for group in range(len(layout))]


@pytest.mark.parametrize("group_side", [1, 40, 4000])
@pytest.mark.parametrize(("card", "plan"), PLANS)
def test_cores_cover_the_scene_once(
    card: Card, plan: WindowPlan, group_side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "_GROUP_BYTES", 4 * 5 * group_side**2)
    for scene in ((90, 70), (1, 70), (90, 1), (5, 3), (33, 32)):
        check_cores(plan_windows(card, scene, plan, classes=3), scene)


def check_cores(layout: WindowLayout, scene: tuple[int, int]) -> None:
    seen = np.zeros(scene, np.int64)
    for window in cores(layout):
        seen[window.slices] += 1
    assert np.all(seen == 1)
    for group in range(len(layout)):
        extent, reading = layout.extent(group), layout.reading(group)
        # What is read holds the group's pixels, with what the network sees before and after them.
        assert reading.row == extent.row - layout.before and reading.column == extent.column - layout.before
        assert reading.height >= layout.before + extent.height and reading.width >= layout.before + extent.width


def test_windows_are_planned_by_the_card() -> None:
    found = plan_windows(PIXEL, (500, 400), WindowPlan(), classes=3)
    assert (found.grid.size, found.grid.overlap, found.picture, found.before) == (30, 2, 32, 1)
    small = plan_windows(PIXEL, (9, 6), WindowPlan(), classes=3)
    assert (small.picture, len(small)) == (12, 1)
    patches = plan_windows(PATCH, (500, 400), WindowPlan(), classes=3)
    assert (patches.stride, patches.grid.size, patches.grid.overlap, patches.picture, patches.before) == (2, 4, 2, 8, 2)


@pytest.mark.parametrize(
    ("card", "plan", "message"),
    [
        (PIXEL, WindowPlan(stride=2), "every pixel"),
        (PATCH, WindowPlan(overlap=2), "--stride"),
        (PIXEL, WindowPlan(size=18), "4 to 32 pixels, a multiple of 4; received 18"),
        (PIXEL, WindowPlan(size=16, overlap=9), "overlap by 0 to 8 pixels; received 9"),
        (PATCH, WindowPlan(stride=9), "1 to 8 pixels apart; received a stride of 9"),
        (PATCH, WindowPlan(size=16), "windows of 8 pixels; received 16"),
    ],
)
def test_windows_that_do_not_fit_the_model_are_refused(card: Card, plan: WindowPlan, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_windows(card, (50, 50), plan, classes=2)


@pytest.mark.parametrize(("card", "plan"), PLANS[:4])
def test_a_map_does_not_depend_on_the_windows(
    card: Card, plan: WindowPlan, case: Case, tmp_path: Path, small_groups: None
) -> None:
    """The model looks at each pixel alone, so whatever differs would be the mapper's fault."""
    run(case.request(tmp_path / "map.tif", windows=plan, probabilities=True))
    found = read(tmp_path / "map.tif")
    assert np.array_equal(found == 0, ~case.pixels.any(axis=-1))
    has_data = found > 0
    assert (found == values_of(case.truth))[has_data].mean() > 0.99
    run(case.request(tmp_path / "whole.tif", windows=WindowPlan(size=32, overlap=16), probabilities=True))
    assert np.array_equal(found, read(tmp_path / "whole.tif"))
    with rasterio.open(tmp_path / "map_probabilities.tif") as one:
        with rasterio.open(tmp_path / "whole_probabilities.tif") as two:
            np.testing.assert_allclose(one.read(), two.read(), atol=2 / LEVELS)
            assert np.nansum(np.abs(np.nansum(one.read(), axis=0)[has_data] - 1) > 4 / LEVELS) == 0


@pytest.mark.parametrize(("card", "plan"), PLANS)
def test_a_constant_scene_gives_a_constant_map(
    card: Card, plan: WindowPlan, make_case: Callable[..., Case], tmp_path: Path, small_groups: None
) -> None:
    case = make_case()
    model = FakePredictor(card)
    request = case.request(tmp_path / "first.tif", save_adapted=tmp_path / "mine.npz", windows=plan)
    run(request, model)
    flat = np.zeros((61, 83, 2), np.uint16) + np.array([700, 900], np.uint16)
    scene = write_scene(tmp_path / "flat.tif", flat, case.grid.__class__(61, 83, case.grid.transform, case.grid.crs))
    request = case.request(
        tmp_path / "map.tif", scenes=(str(scene),), adapted=tmp_path / "mine.npz", windows=plan, probabilities=True
    )
    run(request, model)
    assert len(np.unique(read(tmp_path / "map.tif"))) == 1
    assert np.ptp(read(tmp_path / "map_confidence.tif")) <= 1.01 / LEVELS
    with rasterio.open(tmp_path / "map_probabilities.tif") as raster:
        assert np.ptp(raster.read(), axis=(1, 2)).max() <= 1.01 / LEVELS


def test_blending_hides_what_a_network_does_not_know_at_the_edges_of_its_windows(case: Case, tmp_path: Path) -> None:
    """The model is blind within two pixels of a window's edge."""
    for overlap in (0, 8):
        request = case.request(tmp_path / f"{overlap}.tif", windows=WindowPlan(size=16, overlap=overlap))
        run(request, FakePredictor(edges=True))
    inside = np.s_[22:]  # below the strip without data, the edges of the scene too: a margin of two is mirrored
    sure = {overlap: read(tmp_path / f"{overlap}_confidence.tif")[inside] for overlap in (0, 8)}
    # Without overlap a grid of pixels that are pure chance; with it, none.
    assert np.isclose(sure[0], 1 / 3, atol=1e-3).mean() > 0.3
    assert not np.isclose(sure[8], 1 / 3, atol=1e-2).any()
    found = read(tmp_path / "8.tif")[inside]
    assert (found == values_of(case.truth)[inside]).mean() > 0.98


def test_groups_in_any_order_give_the_same_bits(case: Case, small_groups: None) -> None:
    scene = open_scene([case.scene], PIXEL)
    layout = plan_windows(PIXEL, case.truth.shape, WindowPlan(size=16, overlap=4), classes=3)
    plan = MapPlan(scene, layout, adapted_to([[0.05, 0.04], [0.15, 0.4], [0.3, 0.2]]), all_probabilities=True)
    assert len(layout) > 5

    def predict(order: list[int]) -> dict[int, object]:
        model = FakePredictor()
        return {group: predict_group(plan, group, model) for group in order}

    order = list(range(len(layout)))
    one, two = predict(order), predict(order[::-1])
    for group in order:
        first, second = (assemble(plan, group, parts.__getitem__) for parts in (one, two))  # type: ignore[arg-type]
        for name in ("classes", "confidence", "probabilities"):
            assert np.array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize(
    ("probabilities", "index", "said"),
    [
        (np.full((1, 24, 24, 2), 0.5), np.zeros((1, 24, 24)), "3 classes"),
        (np.full((1, 24, 24, 3), 0.5), np.zeros((1, 24, 23)), "3 classes"),
        (np.full((1, 24, 24, 3), 0.5), np.full((1, 24, 24), 3), "class 3 to 3 of 3"),
    ],
)
def test_answers_that_do_not_fit_are_refused(
    case: Case, small_groups: None, probabilities: np.ndarray, index: np.ndarray, said: str
) -> None:
    class Wrong(FakePredictor):
        def predict(self, adapted: Any, query_x: Any) -> Prediction:
            count = len(query_x)
            return Prediction(np.repeat(probabilities, count, axis=0), np.repeat(index, count, axis=0))

    layout = plan_windows(PIXEL, case.truth.shape, WindowPlan(size=16, overlap=4), classes=3)
    plan = MapPlan(open_scene([case.scene], PIXEL), layout, adapted_to(np.zeros((3, 2))), all_probabilities=False)
    with pytest.raises(ShapeError, match=said):
        predict_group(plan, 0, Wrong())


def test_turns_are_as_they_were_when_the_last_map_is_made() -> None:
    usual = sys.getswitchinterval()
    with short_turns():
        with short_turns():
            pass
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual


def test_every_window_with_data_is_predicted_once_and_no_other(
    make_case: Callable[..., Case], tmp_path: Path, small_groups: None
) -> None:
    case, model = make_case(empty=np.s_[:40, :40]), FakePredictor()
    run(case.request(tmp_path / "map.tif", windows=WindowPlan(size=16, overlap=4)), model)
    layout = plan_windows(PIXEL, case.truth.shape, WindowPlan(size=16, overlap=4), classes=3)
    with_data = [case.pixels[layout.grid[i].slices].any() for i in range(len(layout.grid))]
    assert not all(with_data)
    assert sum(shape[0] for shape in model.calls) == sum(with_data)


def test_patches_answer_for_their_middle(make_case: Callable[..., Case], tmp_path: Path) -> None:
    """At a stride of one, a pixel's class is that of the patch around it, mirrored at the edges of the scene."""
    case = make_case(40, 30)
    model = FakePredictor(PATCH)
    run(case.request(tmp_path / "map.tif", windows=WindowPlan(stride=1)), model)
    around = np.pad(case.pixels.astype(np.float64), ((4, 3), (4, 3), (0, 0)), mode="symmetric")
    means = np.lib.stride_tricks.sliding_window_view(around, (8, 8), axis=(0, 1)).mean(axis=(-1, -2)) * 1e-4
    model.calls.clear()
    vector = model.adapt(*_support(case)).vector
    distance = ((means[..., np.newaxis, :] - vector[1:].reshape(3, 2)) ** 2).sum(axis=-1)
    expected = distance.argmin(axis=-1) + 1
    assert (read(tmp_path / "map.tif") == expected).mean() > 0.999


def _support(case: Case) -> tuple[np.ndarray, np.ndarray]:
    from fewshot.mapping.support.adaptation import read_labels
    from fewshot.mapping.support.examples import LabelPlan

    support, _, _ = read_labels(open_scene([case.scene], PATCH), PATCH, LabelPlan(case.labels), None)
    return support.x, support.y
