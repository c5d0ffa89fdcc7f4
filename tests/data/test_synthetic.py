import numpy as np
import pytest

from fewshot.data.region import RegionSet
from fewshot.data.synthetic import simulate_patches
from fewshot.errors import TaskError
from fewshot.tasks.sampler import TaskSampler
from fewshot.tasks.task import TaskSpec


@pytest.fixture(scope="module")
def simulated() -> RegionSet:
    return simulate_patches(40, seed=1)


def test_says_that_it_is_simulated_and_has_what_was_asked(simulated: RegionSet) -> None:
    assert "simulated" in simulated.name
    assert all(name.startswith("simulated_") for name in simulated.region_names)
    assert len(simulated.regions) == 40
    assert simulated.store.shape == (16, 16, 4)
    assert {len(region.class_names) for region in simulated.regions} == {4, 5, 6, 7, 8}
    assert all(set(np.bincount(region.labels).tolist()) == {30} for region in simulated.regions)
    images = simulated.store.read(np.arange(500))
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1


def test_same_seed_same_images_and_regions_do_not_depend_on_their_number() -> None:
    few, more = simulate_patches(2, images_per_class=4, seed=5), simulate_patches(3, images_per_class=4, seed=5)
    indices = np.arange(len(few.store.names))
    np.testing.assert_array_equal(few.store.read(indices), more.store.read(indices))
    assert few.store.names == more.store.names[: len(indices)]
    other = simulate_patches(2, images_per_class=4, seed=6)
    assert not np.array_equal(few.store.read(range(16)), other.store.read(range(16)))


def test_sources_are_groups_of_one_class() -> None:
    (region,) = simulate_patches(1, images_per_class=4).regions
    for source in set(region.sources.tolist()):
        labels = region.labels[region.sources == source]
        assert len(set(labels.tolist())) == 1
        assert len(labels) in (1, 3)


def test_any_number_of_bands() -> None:
    assert simulate_patches(1, images_per_class=2, bands=13, size=8).store.shape == (8, 8, 13)
    assert simulate_patches(1, images_per_class=2, bands=1, size=5).store.shape == (5, 5, 1)
    with pytest.raises(TaskError, match="at least one"):
        simulate_patches(0)


def test_a_new_region_needs_its_own_examples(simulated: RegionSet) -> None:
    """What the other regions know of a class misleads; examples of the region itself do not."""
    images = simulated.store.read(np.arange(len(simulated.store.names)))
    features = np.concatenate([images.mean((1, 2)), images.std((1, 2))], axis=1)
    features = (features - features.mean(0)) / features.std(0)
    labels = np.concatenate(
        [[simulated.classes.index(r.class_names[label]) for label in r.labels] for r in simulated.regions]
    )
    known = simulated.regions[30].images[0]
    means = np.stack([features[:known][labels[:known] == c].mean(0) for c in range(len(simulated.classes))])
    sampler = TaskSampler(
        simulated.select(lambda region: region.name >= "simulated_30"), TaskSpec(4, 5, 5, disjoint_sources=True)
    )
    pooled: list[float] = []
    adapted: list[float] = []
    for number in range(150):
        task = sampler.sample(np.random.default_rng([0, number]))
        prior = means[[simulated.classes.index(name) for name in task.classes]]
        own = np.stack([features[task.support][task.support_y == k].mean(0) for k in range(4)])
        for centres, scores in ((prior, pooled), (own, adapted)):
            distance = ((features[task.query][:, None] - centres) ** 2).sum(-1)
            scores.append(float(np.mean(distance.argmin(1) == task.query_y)))
    assert 0.35 < np.mean(pooled) < 0.75
    assert np.mean(adapted) > np.mean(pooled) + 0.08
    assert np.mean(adapted) < 0.95
