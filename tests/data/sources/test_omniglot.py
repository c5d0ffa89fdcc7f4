import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data.region import RegionSet
from fewshot.data.sources.omniglot import read_omniglot, read_omniglot_tfds, read_runs, with_rotations
from fewshot.errors import DamagedDataError, DataNotFoundError

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, write_picture: Write) -> Path:
    """Two alphabets, two characters each, three drawers."""
    root = tmp_path / "images_background"
    for alphabet in ("Alpha", "Beta"):
        for character in (1, 2):
            for drawer in (1, 2, 3):
                name = f"{alphabet}/character{character:02d}/0{character}_{drawer:02d}.png"
                write_picture(root / name, size=(105, 105))
    return root


def zip_of(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{folder.name}/{path.relative_to(folder)}")
    return target


@pytest.fixture(scope="module")
def small1(omniglot_root: Path) -> RegionSet:
    return read_omniglot([omniglot_root / "images_background_small1.zip"])


def test_small1_has_its_published_counts(small1: RegionSet) -> None:
    counts = {region.name: len(region.class_names) for region in small1.regions}
    assert counts == {"Balinese": 24, "Early_Aramaic": 22, "Greek": 24, "Korean": 40, "Latin": 26}
    assert len(small1.classes) == 136
    assert len(small1.store.names) == 136 * 20
    for region in small1.regions:
        assert set(region.sources.tolist()) == set(range(1, 21))
        assert set(np.bincount(region.labels).tolist()) == {20}


def test_ink_is_one_on_paper_zero(small1: RegionSet) -> None:
    images = small1.store.read(np.arange(200))
    assert images.shape == (200, 28, 28, 1)
    assert images.min() == 0.0
    assert images.max() == 1.0
    assert 0.02 < images.mean() < 0.2  # a thin stroke on much paper


def test_area_averaging_keeps_the_share_of_ink(omniglot_root: Path, small1: RegionSet) -> None:
    name = small1.store.names[0]
    with zipfile.ZipFile(omniglot_root / "images_background_small1.zip") as archive:
        with archive.open(f"images_background_small1/{name}") as file:
            ink = 1 - np.asarray(Image.open(file).convert("L"), np.float64) / 255
    assert small1.store.read([0]).mean() == pytest.approx(ink.mean(), abs=2e-3)


def test_both_small_sets_share_greek_and_latin_once(omniglot_root: Path, small1: RegionSet) -> None:
    both = read_omniglot([omniglot_root])
    assert len(both.classes) == 136 + 156 - 24 - 26
    greek = next(region for region in both.regions if region.name == "Greek")
    assert len(greek.images) == 24 * 20
    kept = {both.store.names[i] for i in greek.images}
    assert kept == {name for name in small1.store.names if name.startswith("Greek/")}


@pytest.mark.parametrize("kind", ["folder", "zip", "alphabet", "parent"])
def test_layouts(folder: Path, tmp_path: Path, kind: str) -> None:
    path = {
        "folder": folder,
        "zip": tmp_path / "some.zip",
        "alphabet": folder / "Beta",
        "parent": folder.parent,
    }[kind]
    if kind == "zip":
        zip_of(folder, path)
    read = read_omniglot([path])
    assert read.region_names == (("Beta",) if kind == "alphabet" else ("Alpha", "Beta"))
    assert "Beta/character02/02_03.png" in read.store.names
    assert read.regions[-1].sources.tolist() == [1, 2, 3, 1, 2, 3]


def test_truncated_drawing_is_named_or_skipped(folder: Path, tmp_path: Path) -> None:
    broken = folder / "Alpha/character01/01_02.png"
    broken.write_bytes(broken.read_bytes()[:40])
    path = zip_of(folder, tmp_path / "cut.zip")
    with pytest.raises(
        DamagedDataError, match=r"cut\.zip: images_background/Alpha/character01/01_02\.png .*on_damaged"
    ):
        read_omniglot([path])
    read = read_omniglot([path], on_damaged="skip")
    assert len(read.store.names) == 11
    assert len(read.skipped) == 1
    assert "01_02.png" in read.skipped[0]
    assert read.regions[0].sources.tolist() == [1, 3, 1, 2, 3]


def test_truncated_archive_is_named(folder: Path, tmp_path: Path) -> None:
    path = zip_of(folder, tmp_path / "half.zip")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedDataError, match=r"half\.zip is not a readable zip archive.*fetch it again"):
        read_omniglot([path])


def test_drawing_of_another_size_is_named_with_both_sizes(folder: Path, write_picture: Write) -> None:
    write_picture(folder / "Alpha/character01/01_02.png", size=(50, 60))
    with pytest.raises(DamagedDataError, match=r"01_02\.png is 60x50 pixels.*expected 105x105 pixels"):
        read_omniglot([folder])
    assert len(read_omniglot([folder], on_damaged="skip").store.names) == 11


def test_empty_character_is_named_or_skipped(folder: Path) -> None:
    shutil.rmtree(folder / "Beta/character02")
    (folder / "Beta/character02").mkdir()
    with pytest.raises(DamagedDataError, match="Beta/character02 has no drawing"):
        read_omniglot([folder])
    read = read_omniglot([folder], on_damaged="skip")
    assert read.classes == ("Alpha/character01", "Alpha/character02", "Beta/character01")
    assert len(read.skipped) == 1


def test_missing_path_and_folder_without_drawings(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="nowhere.zip does not exist"):
        read_omniglot([tmp_path / "nowhere.zip"])
    with pytest.raises(DataNotFoundError, match="no drawing"):
        read_omniglot([tmp_path])


def test_on_damaged_is_one_of_two(folder: Path) -> None:
    with pytest.raises(DamagedDataError, match='"raise" or "skip", received \'ignore\''):
        read_omniglot([folder], on_damaged="ignore")  # type: ignore[arg-type]


def test_rotations_are_new_classes_of_turned_regions(small1: RegionSet) -> None:
    rotated = with_rotations(small1)
    assert len(rotated.classes) == 4 * 136
    assert len(set(rotated.classes)) == 4 * 136
    upright = next(region for region in rotated.regions if region.name == "Greek")
    turned = next(region for region in rotated.regions if region.name == "Greek@90")
    assert turned.class_names[0] == f"{upright.class_names[0]}@90"
    assert turned.place == "Greek"
    np.testing.assert_array_equal(
        rotated.store.read(turned.images[:5]), np.rot90(rotated.store.read(upright.images[:5]), axes=(1, 2))
    )
    assert rotated.subset(["Greek"]).region_names == ("Greek", "Greek@90", "Greek@180", "Greek@270")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An archive of 20 runs in the official format; item II shows the value of its class."""
    rng = np.random.default_rng(0)
    root = tmp_path / "all_runs"
    for run in range(1, 21):
        order = rng.permutation(20)
        lines = []
        for position in range(20):
            for path, value in (
                (f"run{run:02d}/training/class{position + 1:02d}.png", position),
                (f"run{run:02d}/test/item{position + 1:02d}.png", int(order[position])),
            ):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (105, 105), 10 * value).save(root / path)
            lines.append(
                f"run{run:02d}/test/item{position + 1:02d}.png run{run:02d}/training/class{order[position] + 1:02d}.png"
            )
        (root / f"run{run:02d}/class_labels.txt").write_text("\n".join(lines) + "\n")
    target = tmp_path / "all_runs.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, file.relative_to(root))
    return target


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_runs_are_twenty_tasks_whose_labels_fit(runs: Path, kind: str) -> None:
    read = read_runs(runs if kind == "zip" else runs.parent / "all_runs")
    assert [task.name for task in read.fixed_tasks] == [f"run{i:02d}" for i in range(1, 21)]
    for task in read.fixed_tasks:
        assert task.support_y.tolist() == list(range(20))
        support, query = read.store.read(task.support), read.store.read(task.query)
        np.testing.assert_array_equal(query[:, 0, 0, 0], support[task.query_y, 0, 0, 0])
    assert read.fixed_tasks[0].classes[4] == "run01/class05"
    assert len(read.classes) == 400


def test_runs_refuse_a_label_list_that_does_not_fit(runs: Path) -> None:
    labels = runs.parent / "all_runs/run03/class_labels.txt"
    labels.write_text(labels.read_text().replace("class16", "class99"))
    with pytest.raises(DamagedDataError, match=r"run03/class_labels.txt line \d+ reads .*class99"):
        read_runs(runs.parent / "all_runs")


def test_omniglot_archive_is_not_an_archive_of_runs(folder: Path) -> None:
    with pytest.raises(DataNotFoundError, match="expected the layout of all_runs.zip"):
        read_runs(folder)


def test_tfds(tmp_path: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=12):
        read = read_omniglot_tfds(tmp_path, splits=("train", "small1"), size=14)
    assert len(read.store.names) == 24
    assert read.store.shape == (14, 14, 1)
    assert sum(len(region.images) for region in read.regions) == 24
    assert all(np.all(region.sources == -1) for region in read.regions)
    for region in read.regions:
        assert all(name.startswith(f"{region.name}/character") for name in region.class_names)


def test_tfds_keeps_ink_and_names_characters_from_one(tmp_path: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    paper = np.full((105, 105, 3), 255, np.uint8)
    paper[:, :15] = 0

    def examples(self: object, *_: object, **__: object) -> object:
        import tensorflow as tf

        one = {"image": paper, "alphabet": 3, "alphabet_char_id": 0, "label": 7}
        return tf.data.Dataset.from_tensors(one)

    with tfds.testing.mock_data(num_examples=1, as_dataset_fn=examples):
        read = read_omniglot_tfds(tmp_path, splits=("test",), size=7)
    assert read.classes == ("3/character01",)
    np.testing.assert_array_equal(read.store.read([0])[0, :, :, 0], np.eye(7, dtype=np.float32)[[0] * 7])
