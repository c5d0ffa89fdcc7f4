from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fewshot.data.earth.files import write_earth
from fewshot.data.sources.prepared import Prepared
from fewshot.data.sources.sen12ms import Cut, read_sen12ms
from fewshot.data.sources.sen12ms_index import find_regions, prepare
from fewshot.errors import DamagedDataError, DataNotFoundError, ManifestError, RasterError, RecipeError
from fewshot.geo.grid import Grid
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.writing import write_raster
from tests.data.trees import IGBP, sen12ms_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sen12ms_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def own_tree(tree: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tree, tmp_path / "tree"))


def test_regions_are_seasons_and_places_found_without_reading_pixels(own_tree: Path) -> None:
    for path in own_tree.rglob("*.tif"):
        path.write_bytes(b"")
    assert [region.name for region in find_regions(own_tree)] == ["spring_3", "summer_1", "fall_8"]


def test_windows_that_neighbouring_patches_share_are_taken_once(tree: Path) -> None:
    # Four patches of 2x2 windows in a row, each half on the last: 5 columns of 2 windows in each of three regions.
    assert len(read_sen12ms(tree, Cut(window=128)).store.names) == 30


def test_pixels_are_those_of_the_files_scaled_and_in_the_order_asked_for(tree: Path) -> None:
    data = read_sen12ms(tree, Cut(window=64, bands=("B8", "VV", "B2")))
    number = next(i for i, name in enumerate(data.store.names) if name == "spring_3/p31_6")
    image = data.store.read([number])[0]
    reader = RasterReader()
    s2, _ = reader.read(tree / "ROIs1158_spring/s2_3/ROIs1158_spring_s2_3_p31.tif")
    s1, _ = reader.read(tree / "ROIs1158_spring/s1_3/ROIs1158_spring_s1_3_p31.tif")
    rows, columns = slice(64, 128), slice(128, 192)
    np.testing.assert_allclose(image[..., 0], s2[rows, columns, 7] * 1e-4, rtol=1e-6)
    np.testing.assert_allclose(image[..., 1], s1[rows, columns, 0] * 1e-2, rtol=1e-6)
    np.testing.assert_allclose(image[..., 2], s2[rows, columns, 1] * 1e-4, rtol=1e-6)


def test_labels_of_pixels_are_the_merged_classes_and_a_windows_label_their_commonest(tree: Path) -> None:
    data = read_sen12ms(tree, Cut(window=64))
    region = data.regions[1]
    labels = data.store.read_labels(region.images)
    assert labels.shape == (len(region.images), 64, 64)
    names = np.array(data.classes)
    assert set(names[np.unique(labels)]) <= set(IGBP)
    for window, label in zip(labels, region.labels, strict=True):
        counts = np.bincount(window.ravel(), minlength=len(names))
        assert counts[data.classes.index(region.class_names[label])] == counts.max()


def test_averaged_windows_keep_their_mean_and_the_labels_of_their_middles(tree: Path) -> None:
    whole, small = read_sen12ms(tree, Cut(window=64)), read_sen12ms(tree, Cut(window=64, size=16))
    assert small.store.shape == (16, 16, 15)
    np.testing.assert_allclose(
        small.store.read([3]).mean(axis=(1, 2)), whole.store.read([3]).mean(axis=(1, 2)), rtol=1e-5
    )
    np.testing.assert_array_equal(
        small.store.read_labels([3])[0],
        whole.store.read_labels([3])[0, 2::4, 2::4],
    )


def test_purity_leaves_mixed_windows_out(tree: Path) -> None:
    everything, pure = read_sen12ms(tree, Cut(window=64)), read_sen12ms(tree, Cut(window=64, purity=0.9))
    assert sum(len(r.images) for r in pure.regions) < sum(len(r.images) for r in everything.regions)
    assert all(r.name == "spring_3" or len(r.images) for r in pure.regions)


def test_windows_of_different_sources_never_touch(tree: Path) -> None:
    data = read_sen12ms(tree, Cut(window=32))
    region = data.regions[0]
    assert len(set(region.sources.tolist())) > 4
    places = []
    for number in region.images:
        patch, square = data.store.names[number].rpartition("/p")[2].split("_")
        row, column = divmod(int(square), 8)
        places.append((row, column + 4 * (int(patch) - 30)))  # patches are four windows apart
    away = np.abs(np.array(places)[:, None] - np.array(places)[None]).max(axis=-1)
    apart = region.sources[:, None] != region.sources[None]
    assert away[apart].min() == 2


def test_records_hold_what_the_files_hold(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "made", window=64, records=True)
    cut = Cut(window=64, bands=("VH", "B12", "B1"))
    files, records = read_sen12ms(tree, cut), read_sen12ms(tmp_path / "made", cut)
    chosen = [0, 5, 79, 40]
    assert list(files.store.names) == list(records.store.names)
    np.testing.assert_array_equal(files.store.read(chosen), records.store.read(chosen))
    np.testing.assert_array_equal(
        files.store.read_labels(chosen),
        records.store.read_labels(chosen),
    )


def test_a_stopped_preparation_goes_on_where_it_stopped(tree: Path, tmp_path: Path) -> None:
    whole = prepare(tree, tmp_path / "whole", window=128)

    class Stop(Exception):
        pass

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        prepare(tree, tmp_path / "part", window=128, progress=stop)
    assert not Prepared.is_one(tmp_path / "part")
    kept = (tmp_path / "part" / "spring_3.npz").stat().st_mtime_ns
    again = prepare(tree, tmp_path / "part", window=128)
    assert (tmp_path / "part" / "spring_3.npz").stat().st_mtime_ns == kept
    for first, second in zip(whole.regions, again.regions, strict=True):
        np.testing.assert_array_equal(first.counts, second.counts)


def test_a_preparation_for_other_windows_is_refused_with_the_remedy(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "made", window=64)
    with pytest.raises(RecipeError, match="prepared for windows of 64 pixels; data.window is 128"):
        read_sen12ms(tmp_path / "made", Cut(window=128))


def test_a_prepared_simulated_earth_stays_one_without_its_tree(tmp_path: Path) -> None:
    write_earth(tmp_path / "earth", regions=1, patches_per_region=1)
    prepare(tmp_path / "earth", tmp_path / "made", window=128, records=True)
    shutil.rmtree(tmp_path / "earth")
    found = read_sen12ms(tmp_path / "made")
    assert (found.name, found.manifest) == ("SIMULATED Earth", "synthetic")


def test_files_without_a_reference_are_places_of_their_own(tmp_path: Path) -> None:
    tree = sen12ms_tree(tmp_path, places={"3": "spring"}, patches=2, georeferenced=False)
    (region,) = read_sen12ms(tree, Cut(window=128)).regions
    assert len(region.images) == 8
    assert len(set(region.sources.tolist())) == 2


def test_a_truncated_land_cover_file_is_named_or_skipped(own_tree: Path) -> None:
    path = own_tree / "ROIs1158_spring/lc_3/ROIs1158_spring_lc_3_p30.tif"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamagedDataError, match="ROIs1158_spring_lc_3_p30.tif"):
        read_sen12ms(own_tree)
    data = read_sen12ms(own_tree, on_damaged="skip")
    assert len(data.skipped) == 1
    assert "ROIs1158_spring_lc_3_p30.tif" in data.skipped[0]


def test_a_truncated_image_is_named_when_it_is_read(own_tree: Path) -> None:
    path = own_tree / "ROIs1158_spring/s2_3/ROIs1158_spring_s2_3_p30.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RasterError, match="ROIs1158_spring_s2_3_p30.tif"):
        read_sen12ms(own_tree).store.read([0, 1, 2, 3])


def test_a_patch_without_one_of_its_files_is_named(own_tree: Path) -> None:
    (own_tree / "ROIs1158_spring/s1_3/ROIs1158_spring_s1_3_p31.tif").unlink()
    with pytest.raises(DamagedDataError, match="s1_3_p31.tif is missing; patch 31 of spring_3 needs s1, s2 and lc"):
        read_sen12ms(own_tree)


def test_an_image_with_too_few_bands_is_named(own_tree: Path) -> None:
    path = own_tree / "ROIs1158_spring/s2_3/ROIs1158_spring_s2_3_p30.tif"
    grid = describe_raster(path).grid
    write_raster(path, np.zeros((256, 256, 4), np.uint16), grid)
    with pytest.raises(RasterError, match="has 4 bands; band 13 was asked for"):
        read_sen12ms(own_tree).store.read([0])


def test_an_unknown_class_is_named_with_its_file(own_tree: Path) -> None:
    path = own_tree / "ROIs1158_spring/lc_3/ROIs1158_spring_lc_3_p30.tif"
    grid: Grid = describe_raster(path).grid
    write_raster(path, np.full((256, 256, 4), 99, np.uint8), grid)
    with pytest.raises(ManifestError, match=r"lc_3_p30.tif.*99 \(65536 pixels\)"):
        read_sen12ms(own_tree)


def test_nan_in_radar_counts_as_zero(own_tree: Path) -> None:
    path = own_tree / "ROIs1158_spring/s1_3/ROIs1158_spring_s1_3_p30.tif"
    write_raster(path, np.full((256, 256, 2), np.nan, np.float32), describe_raster(path).grid)
    image = read_sen12ms(own_tree, Cut(bands=("VV",))).store.read([0])
    assert np.all(image == 0)


def test_two_folders_of_one_region_are_refused(own_tree: Path) -> None:
    shutil.copytree(own_tree / "ROIs1158_spring", own_tree / "ROIs9999_spring")
    with pytest.raises(DataNotFoundError, match="holds region spring_3 twice"):
        find_regions(own_tree)


def test_a_folder_that_is_not_sen12ms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="is not a SEN12MS folder: expected ROIs<seed>_<season>/lc_<region>/"):
        read_sen12ms(tmp_path)


@pytest.mark.parametrize(
    ("cut", "message"),
    [({"window": 100}, "divide 128"), ({"window": 64, "size": 48}, "divides"), ({"purity": 2.0}, "from 0 to 1")],
)
def test_cuts_that_do_not_fit_are_refused(cut: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Cut(**cut)


def test_an_unknown_band_is_named(tree: Path) -> None:
    with pytest.raises(RecipeError, match="has no band 'B13'"):
        read_sen12ms(tree, Cut(bands=("B13",)))
