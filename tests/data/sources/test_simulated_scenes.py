"""The simulated Earth as several satellites see it."""

import numpy as np
import pytest

from fewshot.data.earth.ground import MATERIALS
from fewshot.data.earth.region import simulate_region
from fewshot.data.region import RegionSet
from fewshot.data.source import make_source
from fewshot.data.sources.simulated_scenes import SENSORS, SIZE, WAVELENGTHS, _see, simulate_scenes
from fewshot.errors import RecipeError
from fewshot.tasks.sampler import sample_task
from fewshot.tasks.task import PixelTaskSpec, gather


@pytest.fixture(scope="module")
def scenes() -> RegionSet:
    return simulate_scenes(2, 32, 0)


def test_a_landsat_sees_means_of_nine_pixels_in_its_own_bands(scenes: RegionSet) -> None:
    sensor, region = SENSORS[0], scenes.regions[0]
    side = SIZE // sensor.pixel // 32
    assert len(region.images) == side**2
    window = scenes.store.read(region.images[:1])[0]
    fine = simulate_region(0, seed=0, size=SIZE, bands=tuple(WAVELENGTHS), radar=False)
    lacking = ~np.isin(tuple(WAVELENGTHS), sensor.bands)
    assert (window[..., lacking] == 0).all()
    expected = fine.optical[:3, :3].mean(axis=(0, 1)) * 1e-4
    np.testing.assert_allclose(window[0, 0, ~lacking], expected[~lacking], atol=6e-5)


def test_a_label_covers_more_than_half_of_its_pixel(scenes: RegionSet) -> None:
    region = scenes.regions[0]
    fine = simulate_region(0, seed=0, size=SIZE, bands=("B2",), radar=False)
    labels = scenes.store.read_labels(region.images[:1])[0]
    for row, column in ((0, 0), (5, 17), (31, 31)):
        counts = np.bincount(fine.classes[3 * row : 3 * row + 3, 3 * column : 3 * column + 3].ravel(), minlength=18)
        expected = counts.argmax() - 1 if counts.max() > 4.5 else -1
        assert labels[row, column] == expected


def test_scenes_are_labelled_with_land_cover_or_with_materials(scenes: RegionSet) -> None:
    assert all(name.startswith("IGBP") for name in scenes.regions[0].class_names)
    assert scenes.classes[17:] == MATERIALS
    _, truth, _ = _see(1, SENSORS[1], seed=0, materials=True)
    assert {scenes.classes[label] for label in np.unique(truth[truth >= 0])} <= set(MATERIALS)


def test_windows_of_a_block_are_never_on_both_sides_of_a_task(scenes: RegionSet) -> None:
    spec = PixelTaskSpec(4, 3, labels="task", points=3, fewest_points=1)
    task = sample_task(scenes, spec, np.random.default_rng(0))
    region = next(region for region in scenes.regions if region.name == task.region)
    block = dict(zip(region.images.tolist(), region.sources.tolist(), strict=True))
    sides = [{block[image] for image in side.tolist()} for side in (task.support, task.query)]
    assert not sides[0] & sides[1]


def test_few_points_and_many_are_drawn(scenes: RegionSet) -> None:
    spec = PixelTaskSpec(4, 1, labels="task", points=3, fewest_points=1)
    tasks = [sample_task(scenes, spec, np.random.default_rng(seed)) for seed in range(20)]
    assert {task.pixels.points for task in tasks if task.pixels} == {1, 2, 3}
    batch = gather(scenes, tasks, labels="task")
    most = max(np.bincount(window[window >= 0]).max(initial=0) for window in batch.support_y[0])
    assert most <= (tasks[0].pixels.points if tasks[0].pixels else 0)


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RecipeError, match="data.window 1 to 64"):
        make_source("simulated_scenes", {"window": 65}, "r.toml", besides=())
