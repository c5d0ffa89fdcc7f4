"""The simulated Earth as several satellites see it."""

from pathlib import Path

import numpy as np
import pytest

from fewshot.data.earth import kept
from fewshot.data.earth.ground import MATERIALS
from fewshot.data.earth.region import simulate_region
from fewshot.data.region import RegionSet
from fewshot.data.source import make_source
from fewshot.data.sources import simulated_scenes
from fewshot.data.sources.simulated_scenes import (
    PICTURES,
    SENSORS,
    SIZE,
    WAVELENGTHS,
    SimulatedScenes,
    _see,
    main_classes,
    simulate_scenes,
)
from fewshot.errors import RecipeError
from fewshot.tasks.sampler import sample_task
from fewshot.tasks.task import PixelTaskSpec, TaskSpec, gather


@pytest.fixture(scope="module")
def scenes() -> RegionSet:
    return simulate_scenes(SimulatedScenes(places=2, window=32))


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


@pytest.mark.slow
def test_windows_of_one_class_are_images_of_it() -> None:
    asked = SimulatedScenes(places=2, sensors=(PICTURES[1].name, "Landsat 8"), purity=0.6)
    scenes = simulate_scenes(asked)
    colours = np.isin(tuple(WAVELENGTHS), PICTURES[1].bands)
    for region, bands in zip(scenes.regions, (3, 7), strict=True):
        some = region.images[::7]
        assert np.count_nonzero(scenes.store.read(some).any(axis=(0, 1, 2))) == bands
        own = [scenes.classes.index(region.class_names[label]) for label in region.labels[::7]]
        shares = [np.mean(labels == kind) for labels, kind in zip(scenes.store.read_labels(some), own, strict=True)]
        assert min(shares) >= 0.6
    assert not scenes.store.read(scenes.regions[0].images[:1])[..., ~colours].any()
    spec = TaskSpec(ways=2, shots=1, queries=1, disjoint_sources=True)
    assert len(set(sample_task(scenes, spec, np.random.default_rng(0)).classes)) == 2


def test_the_main_class_covers_its_share_of_the_pixels() -> None:
    labels = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 1]], [[2, -1], [-1, -1]]], np.int16)
    np.testing.assert_array_equal(main_classes(labels, 3, 0.5), [1, 0, -1])
    np.testing.assert_array_equal(main_classes(labels, 3, 0.7), [1, -1, -1])


def test_a_scene_is_simulated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path))
    asked = SimulatedScenes(places=1, sensors=("Landsat 8",))
    simulate_scenes.cache_clear()
    first = simulate_scenes(asked)
    monkeypatch.setattr(simulated_scenes, "simulate_region", lambda *args, **kwargs: pytest.fail("simulated again"))
    simulate_scenes.cache_clear()
    again = simulate_scenes(asked)
    assert [path.suffix for path in (tmp_path / "simulated_scenes").iterdir()] == [".npz"]
    np.testing.assert_array_equal(again.store.read([0, 40]), first.store.read([0, 40]))
    assert [region.place for region in again.regions] == [region.place for region in first.regions]
    monkeypatch.setattr(kept, "simulator", lambda code: "another version")
    simulate_scenes.cache_clear()
    with pytest.raises(pytest.fail.Exception, match="simulated again"):
        simulate_scenes(asked)


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(RecipeError, match="data.window 1 to 64"):
        make_source("simulated_scenes", {"window": 65}, "r.toml", besides=())
    with pytest.raises(RecipeError, match="Did you mean 'Landsat 8'"):
        make_source("simulated_scenes", {"sensors": ["Landsat 9"]}, "r.toml", besides=())
