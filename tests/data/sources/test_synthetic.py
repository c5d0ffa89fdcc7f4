from collections import Counter

import numpy as np
import pytest

from fewshot.data.earth.region import SimulatedRegion, name_region, simulate_region, visited
from fewshot.data.earth.sensor import OPTICAL
from fewshot.data.region import RegionSet
from fewshot.data.sources.synthetic import simulate_patches
from fewshot.errors import TaskError
from fewshot.geo.landcover import IGBP
from fewshot.tasks.sampler import TaskSampler
from fewshot.tasks.task import TaskSpec

IDS = {name: entry.ids for name, entry in zip(IGBP.names, IGBP.classes, strict=True)}


@pytest.fixture(scope="module")
def world() -> list[SimulatedRegion]:
    return [simulate_region(number, seed=2, size=256) for number in range(8)]


def test_a_region_has_what_a_reader_of_sen12ms_expects(world: list[SimulatedRegion]) -> None:
    for region in world:
        assert region.classes.shape == (256, 256) and region.classes.dtype == np.uint8
        assert region.optical.shape == (256, 256, 13) and region.optical.dtype == np.uint16
        assert region.radar is not None
        assert region.radar.shape == (256, 256, 2) and region.radar.dtype == np.float32
        assert set(np.unique(region.classes)) <= set(range(1, 18))
        assert 1 <= region.optical.min() and region.optical.max() < 25_000
        assert np.isfinite(region.radar).all() and -35 < region.radar.min() and region.radar.max() < 30
        assert region.name == f"{region.season}_{region.place}"
        assert region.grid.crs[:8] in ("EPSG:326", "EPSG:327")
        assert 1 <= int(region.grid.crs[8:]) <= 60


def test_classes_and_their_shares_vary(world: list[SimulatedRegion]) -> None:
    seen = [{name for name, ids in IDS.items() if np.isin(region.classes, ids).mean() > 0.02} for region in world]
    assert all(len(names) >= 3 for names in seen)
    assert len({frozenset(names) for names in seen}) >= 5
    assert len(set().union(*seen)) >= 8


def test_same_seed_same_region_whatever_else_is_asked() -> None:
    whole = simulate_region(5, seed=3, size=128)
    part = simulate_region(5, seed=3, size=128, bands=("B11", "B2"), radar=False)
    assert part.radar is None
    np.testing.assert_array_equal(part.classes, whole.classes)
    np.testing.assert_array_equal(part.optical, whole.optical[..., [OPTICAL.index("B11"), OPTICAL.index("B2")]])
    other = simulate_region(5, seed=4, size=128, bands=("B2",), radar=False)
    assert not np.array_equal(other.classes, whole.classes)


def test_the_same_world_on_every_machine() -> None:
    """Digests would depend on the last bit of every machine's exponential; shares and means do not."""
    region = simulate_region(0, seed=0, size=256)
    shares = {name: round(float(np.isin(region.classes, ids).mean()), 3) for name, ids in IDS.items()}
    assert {name: share for name, share in shares.items() if share} == pytest.approx(SHARES, abs=2e-3)
    np.testing.assert_allclose(region.optical.mean((0, 1)), MEANS, rtol=2e-3)
    assert region.radar is not None
    np.testing.assert_allclose(region.radar.mean((0, 1)), DECIBELS, atol=0.02)
    assert name_region(0, seed=0) == region.name == "fall_1"


SHARES = {"Forests": 0.472, "Grassland": 0.059, "Croplands": 0.215, "Urban_Build-up": 0.24, "Water": 0.013}
MEANS = [1403.0, 1193.8, 1124.9, 967.9, 1230.7, 1860.2, 2088.4, 2233.5, 2319.2, 1084.5, 59.1, 1779.6, 1306.3]
DECIBELS = [-8.531, -15.755]


def test_a_place_in_two_seasons(world: list[SimulatedRegion]) -> None:
    assert [visited(number) for number in range(8)] == [(0, 0), (1, 0), (2, 0), (0, 1), (3, 0), (4, 0), (5, 0), (3, 1)]
    changes = []
    for first, second in ((0, 3), (4, 7)):
        once, again = world[first], world[second]
        assert once.place == again.place
        assert once.season != again.season
        assert once.grid == again.grid
        np.testing.assert_array_equal(once.classes, again.classes)
        changes.append(np.abs(once.optical.astype(float) - again.optical).mean() / once.optical.mean())
    assert min(changes) > 0.04
    assert max(changes) > 0.1
    assert len({region.place for region in world}) == 6
    assert len({(region.grid.crs, region.grid.transform) for region in world}) == 6


def test_bands_have_the_resolution_of_their_sensor(world: list[SimulatedRegion]) -> None:
    image = world[1].optical.astype(int)
    for name, step in {"B2": 1, "B8": 1, "B5": 2, "B8A": 2, "B11": 2, "B1": 6, "B9": 6}.items():
        band = image[..., OPTICAL.index(name)]
        equal = (np.diff(band, axis=1) == 0).mean()
        assert equal == pytest.approx(1 - 1 / step, abs=0.06), name
        assert (band[:step, :step] == band[0, 0]).all()


def test_spectra_are_plausible(world: list[SimulatedRegion]) -> None:
    red, near, short = (OPTICAL.index(name) for name in ("B4", "B8", "B11"))
    compared, brighter = Counter[str](), []
    for region in world:
        assert region.radar is not None
        at = {name: np.isin(region.classes, ids) for name, ids in IDS.items()}
        image, (vv, vh) = region.optical.astype(float), np.moveaxis(region.radar, -1, 0)
        land = ~at["Water"]
        assert (vv > vh).mean() > 0.85
        if at["Forests"].sum() > 500:
            assert image[at["Forests"], near].mean() > image[at["Forests"], red].mean()
            compared["forest"] += 1
        if at["Water"].sum() > 1000:
            assert image[at["Water"], short].mean() < 0.6 * image[land, short].mean()
            assert vh[at["Water"]].mean() < vh[land].mean() - 3
            compared["water"] += 1
        if at["Urban_Build-up"].sum() > 1000:
            power = 10 ** (vv / 10)
            brighter.append(power[at["Urban_Build-up"]].mean() / power[land & ~at["Urban_Build-up"]].mean())
    assert compared["forest"] >= 2 and compared["water"] >= 2 and len(brighter) >= 3
    assert np.median(brighter) > 1.3


def test_pixels_at_a_border_are_mixed(world: list[SimulatedRegion]) -> None:
    """Across a border of two classes, the step is spread over several pixels."""
    near = OPTICAL.index("B8")
    for region in world[:2]:
        image, classes = region.optical[..., near].astype(float), region.classes
        border = classes[:, 2:-2] != classes[:, 3:-1]
        alone = border & (classes[:, 1:-3] == classes[:, 2:-2]) & (classes[:, 4:] == classes[:, 3:-1])
        far = np.abs(image[:, 4:] - image[:, 1:-3])[alone]
        close = np.abs(image[:, 3:-1] - image[:, 2:-2])[alone]
        assert close.mean() < 0.75 * far.mean()


@pytest.mark.parametrize(
    ("number", "size", "bands"),
    [(-1, 128, ("B2",)), (0, 100, ("B2",)), (0, 64, ("B2",)), (0, 128, ("B13",)), (0, 128, ())],
)
def test_a_region_that_cannot_be(number: int, size: int, bands: tuple[str, ...]) -> None:
    with pytest.raises(TaskError, match=f"received number {number}, size {size}"):
        simulate_region(number, size=size, bands=bands)


@pytest.fixture(scope="module")
def patches() -> RegionSet:
    return simulate_patches()


def test_patches_say_that_they_are_simulated_and_are_what_was_asked(patches: RegionSet) -> None:
    assert "simulated" in patches.name
    assert all(name.startswith("simulated_") for name in patches.region_names)
    assert len(patches.regions) == 24
    assert patches.store.shape == (16, 16, 4)
    assert patches.classes == IGBP.names
    counts = [len(region.class_names) for region in patches.regions]
    assert min(counts) >= 4 and max(counts) >= 6
    assert Counter(name for region in patches.regions for name in region.class_names).keys() == set(IGBP.names)
    assert all(set(np.bincount(region.labels).tolist()) == {30} for region in patches.regions)
    images = patches.store.read(np.arange(500))
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1


def test_a_place_is_on_one_side_of_the_demos_split(patches: RegionSet) -> None:
    sides = [{region.place for region in patches.regions[part]} for part in (np.s_[:16], np.s_[16:20], np.s_[20:])]
    assert len(set().union(*sides)) == sum(map(len, sides)) == 18


def test_patches_are_the_same_for_the_same_seed_and_do_not_depend_on_their_number() -> None:
    few, more = simulate_patches(2, images_per_class=4, seed=5), simulate_patches(3, images_per_class=4, seed=5)
    indices = np.arange(len(few.store.names))
    np.testing.assert_array_equal(few.store.read(indices), more.store.read(indices))
    assert few.store.names == more.store.names[: len(indices)]
    other = simulate_patches(2, images_per_class=4, seed=6)
    assert not np.array_equal(few.store.read(range(16)), other.store.read(range(16)))
    assert simulate_patches(2, images_per_class=4, seed=6) is other  # kept, so that asking again costs nothing


def test_patches_are_cut_from_their_region_where_their_class_is() -> None:
    (region,) = simulate_patches(1, images_per_class=8, seed=7).regions
    images = simulate_patches(1, images_per_class=8, seed=7).store.read(region.images)
    whole = simulate_region(0, seed=7, size=384, bands=("B2", "B3", "B4", "B8"), radar=False)
    cells = (whole.optical * np.float32(1e-4)).reshape(24, 16, 24, 16, 4).swapaxes(1, 2).reshape(576, 16, 16, 4)
    kinds = whole.classes.reshape(24, 16, 24, 16).swapaxes(1, 2).reshape(576, -1)
    for image, label, source in zip(images, region.labels, region.sources, strict=True):
        (cell,) = np.flatnonzero((cells == image).all(axis=(1, 2, 3)))
        assert np.isin(kinds[cell], IDS[region.class_names[label]]).mean() >= 0.6
        assert source == (cell // 24 // 3) * 8 + cell % 24 // 3


def test_up_to_three_images_of_a_class_share_a_source(patches: RegionSet) -> None:
    shared = Counter[int]()
    for region in patches.regions:
        for label in range(len(region.class_names)):
            shared += Counter(Counter(region.sources[region.labels == label].tolist()).values())
    assert max(shared) == 3
    assert shared[3] > 0.8 * shared.total()


def test_other_sizes_and_bands() -> None:
    assert simulate_patches(1, images_per_class=2, bands=OPTICAL, size=8).store.shape == (8, 8, 13)
    assert simulate_patches(1, images_per_class=2, bands=("B4",), size=5).store.shape == (5, 5, 1)
    with pytest.raises(TaskError, match="at least one"):
        simulate_patches(0)


def test_a_new_region_needs_its_own_examples(patches: RegionSet) -> None:
    """What the other regions know of a class misleads; examples of the region itself do not."""
    images = patches.store.read(np.arange(len(patches.store.names)))
    features = np.concatenate([images.mean((1, 2)), np.log(images.std((1, 2)) + 1e-3)], axis=1)
    features = (features - features.mean(0)) / features.std(0)
    labels = np.concatenate(
        [[patches.classes.index(r.class_names[label]) for label in r.labels] for r in patches.regions]
    )
    known = patches.regions[16].images[0]
    means = np.stack([features[:known][labels[:known] == c].mean(0) for c in range(len(patches.classes))])
    sampler = TaskSampler(
        patches.select(lambda region: region.name >= "simulated_16"), TaskSpec(4, 5, 5, disjoint_sources=True)
    )
    pooled: list[float] = []
    adapted: list[float] = []
    for number in range(150):
        task = sampler.sample(np.random.default_rng([0, number]))
        prior = means[[patches.classes.index(name) for name in task.classes]]
        own = np.stack([features[task.support][task.support_y == k].mean(0) for k in range(4)])
        for centres, scores in ((prior, pooled), (own, adapted)):
            distance = ((features[task.query][:, None] - centres) ** 2).sum(-1)
            scores.append(float(np.mean(distance.argmin(1) == task.query_y)))
    assert 0.35 < np.mean(pooled) < 0.75
    assert np.mean(adapted) > np.mean(pooled) + 0.08
    assert np.mean(adapted) < 0.95
