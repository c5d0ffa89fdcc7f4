from collections.abc import Callable

import numpy as np
import pytest

from fewshot.data.region import (
    ArrayStore,
    KeptBands,
    Region,
    RegionSet,
    RotatedStore,
    Task,
    turned,
    unturned,
)
from fewshot.data.sources.omniglot import with_rotations
from fewshot.data.splits import split_characters, split_places, split_published, split_regions
from fewshot.errors import DataNotFoundError, ShapeError, TaskError

Make = Callable[..., RegionSet]


@pytest.fixture
def seasons(make_set: Make) -> RegionSet:
    """Two seasons of place 101 and one of place 7, with a fixed task each."""
    made = make_set({name: {"Water": 4, "Forests": 4} for name in ("spring_101", "summer_101", "fall_7")})
    regions = tuple(
        Region(r.name, r.class_names, r.images, r.labels, r.sources, r.name.split("_")[1]) for r in made.regions
    )
    labels = np.array([0, 1], np.int32)
    tasks = tuple(Task(r.name, r.class_names, r.images[[0, 4]], labels, r.images[[1, 5]], labels) for r in regions)
    return RegionSet("seasons", made.store, regions, made.classes, tasks)


def test_array_store_scales_to_one_when_read() -> None:
    store = ArrayStore(["a", "b"], np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
    assert store.read([1, 0, 1]).ravel().tolist() == [1.0, 0.0, 1.0]
    assert store.read([0]).dtype == np.float32


def test_array_store_refuses_a_name_twice_and_a_wrong_shape() -> None:
    with pytest.raises(ShapeError, match="'a' occurs more than once"):
        ArrayStore(["a", "a"], np.zeros((2, 1, 1, 1), np.uint8))
    with pytest.raises(ShapeError, match=r"\[1, H, W, bands\]"):
        ArrayStore(["a"], np.zeros((2, 1, 1, 1), np.uint8))


def test_rotated_store_turns_each_image_counter_clockwise() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
    store = RotatedStore(ArrayStore(["a", "b"], pixels, scale=1.0))
    read = store.read([1, 3, 5, 7, 0])
    for turn in range(4):
        np.testing.assert_array_equal(read[turn], np.rot90(pixels[1], turn))
    np.testing.assert_array_equal(read[4], pixels[0])
    assert store.names[3] == "b@90"
    assert [unturned(turned("x", turn)) for turn in range(4)] == ["x"] * 4


def test_rotated_store_needs_squares() -> None:
    with pytest.raises(ShapeError, match="2 rows and 3 columns"):
        RotatedStore(ArrayStore(["a"], np.zeros((1, 2, 3, 1), np.uint8)))


def test_region_refuses_arrays_of_different_lengths() -> None:
    with pytest.raises(ShapeError, match="region x"):
        Region("x", ("a",), np.arange(2), np.zeros(3, np.int64), np.zeros(2, np.int64))


def test_subset_by_region_and_by_place(seasons: RegionSet) -> None:
    assert seasons.subset(["spring_101"]).region_names == ("spring_101",)
    by_place = seasons.subset(["101"])
    assert by_place.region_names == ("spring_101", "summer_101")
    assert {task.region for task in by_place.fixed_tasks} == {"spring_101", "summer_101"}


def test_unknown_region_names_the_nearest_and_the_known(seasons: RegionSet) -> None:
    with pytest.raises(DataNotFoundError, match="Did you mean 'spring_101'.*It has: spring_101, summer_101, fall_7"):
        seasons.subset(["sprng_101"])


def test_split_regions_gives_the_rest(seasons: RegionSet) -> None:
    parts = split_regions(seasons, {"train": ["*"], "test": ["7"]})
    assert parts["train"].region_names == ("spring_101", "summer_101")
    assert parts["test"].name == "seasons/test"
    assert [task.region for task in parts["test"].fixed_tasks] == ["fall_7"]


def test_split_regions_refuses_one_place_on_both_sides(seasons: RegionSet) -> None:
    with pytest.raises(TaskError, match="place '101' .* both 'train' and 'test'"):
        split_regions(seasons, {"train": ["spring_101"], "test": ["summer_101"]})


def test_split_regions_rest_has_no_other_season_of_a_named_place(seasons: RegionSet) -> None:
    parts = split_regions(seasons, {"test": ["spring_101"], "train": ["*"]})
    assert parts["train"].region_names == ("fall_7",)


def test_split_regions_refuses_an_empty_part_and_two_rests(seasons: RegionSet) -> None:
    with pytest.raises(TaskError, match="'train' .* no region left"):
        split_regions(seasons, {"test": ["101", "7"], "train": ["*"]})
    with pytest.raises(TaskError, match="only one part"):
        split_regions(seasons, {"a": ["*"], "b": ["*"]})


def test_split_characters_is_disjoint_complete_and_repeatable(make_set: Make) -> None:
    made = make_set({region: {f"{region}/c{i}": 3 for i in range(10)} for region in ("A", "B")})
    first, second = split_characters(made, (12, 8), seed=3)
    again, _ = split_characters(made, (12, 8), seed=3)
    other, _ = split_characters(made, (12, 8), seed=4)
    assert (len(first.classes), len(second.classes)) == (12, 8)
    assert set(first.classes) | set(second.classes) == set(made.classes)
    assert first.classes == again.classes != other.classes
    for part in (first, second):
        for region in part.regions:
            for index, class_name in enumerate(region.class_names):
                images = region.images[region.labels == index]
                assert {made.store.names[i].rsplit("/", 1)[0] for i in images} == {f"{region.name}/{class_name}"}
                assert len(images) == 3


def test_split_characters_keeps_turns_together_whichever_comes_first(make_set: Make) -> None:
    made = make_set({"A": {f"A/c{i}": 2 for i in range(10)}})
    first, second = split_characters(with_rotations(made), (6, 4), seed=0)
    assert len(first.classes) == 24
    assert {name for region in first.regions for name in region.class_names} == set(first.classes)
    assert not {unturned(name) for name in first.classes} & {unturned(name) for name in second.classes}
    assert set(first.classes) == set(with_rotations(split_characters(made, (6, 4), seed=0)[0]).classes)


def test_split_characters_says_how_many_there_are(make_set: Make) -> None:
    with pytest.raises(TaskError, match=r"has 1 classes.*1200 \+ 423 needs 1623"):
        split_characters(make_set({"A": {"A/c": 3}}))


def test_places_are_dealt_out_whole(seasons: RegionSet) -> None:
    first, second = split_places(seasons, (1, 1), seed=1)
    assert {r.place for r in first.regions}.isdisjoint(r.place for r in second.regions)
    assert len(first.regions) + len(second.regions) == 3
    assert [r.name for r in split_places(seasons, (1, 1), seed=1)[0].regions] == [r.name for r in first.regions]
    with pytest.raises(TaskError, match="has 2 places .*too few for a split into 2 \\+ 1"):
        split_places(seasons, (2, 1))


def test_a_published_split_keeps_to_the_places_that_are_here(seasons: RegionSet) -> None:
    parts = split_published(seasons, {"train": ["101", "5"], "validation": ["6"], "test": ["7"]})
    assert {name: part.region_names for name, part in parts.items()} == {
        "train": ("spring_101", "summer_101"),
        "test": ("fall_7",),
    }
    with pytest.raises(DataNotFoundError, match="no place of .* is in its published split"):
        split_published(seasons, {"train": ["5"]})


def test_a_store_says_itself_what_it_has() -> None:
    store = ArrayStore(["a"], np.zeros((1, 2, 2, 1), np.uint8))
    assert (store.has_labels, tuple(store.bands)) == (False, ())
    with pytest.raises(TaskError, match="the pixels of these images have no labels"):
        store.read_labels([0])
    with pytest.raises(DataNotFoundError, match="no band 'B4'; its bands have no names"):
        KeptBands(store, ["B4"])
    kept = KeptBands(store, [])
    assert (kept.has_labels, tuple(kept.bands), kept.shape) == (False, (), (2, 2, 1))
