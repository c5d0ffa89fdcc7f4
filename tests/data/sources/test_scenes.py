import itertools
import tracemalloc
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from fewshot.data.region import RegionSet
from fewshot.data.sources.scene_patches import PatchLayout
from fewshot.data.sources.scenes import Areas, SceneFiles, SceneSet, read_scenes
from fewshot.data.splits import split_regions
from fewshot.errors import DataNotFoundError, ManifestError, RasterError, RecipeError, TaskError
from fewshot.geo.bands import Band
from fewshot.geo.grid import Grid
from fewshot.geo.labels import LabelFiles
from fewshot.geo.landcover import class_table
from fewshot.geo.writing import write_raster
from fewshot.tasks.sampler import make_sampler
from fewshot.tasks.task import PixelTaskSpec, TaskSpec, gather
from tests.data.conftest import Write, grid_of, path_of

BANDS = (Band("B4", scale=1e-4), Band("B3", scale=1e-4))
TABLE = class_table("t", [{"id": n, "name": name} for n, name in enumerate(("Water", "Forest", "Urban"), start=1)])
SMALL = PatchLayout(size=8, purity=0)


def write_points(path: Path, places: list[tuple[float, float, str]], grid: Grid) -> Path:
    """Write points at (row, column)."""
    rows, columns, names = zip(*places, strict=True)
    points = geopandas.points_from_xy(*grid.to_map(np.array(rows), np.array(columns)))
    geopandas.GeoDataFrame({"class": names}, geometry=points, crs="EPSG:32633").to_file(path)
    return path


def places_of(found: RegionSet) -> np.ndarray:
    """First row and column of each patch, from its name."""
    return np.array([name.rsplit("/", 1)[1].split("_") for name in found.store.names], int)


def read_labels(found: RegionSet, indices: list[int]) -> np.ndarray:
    assert found.store.has_labels
    return found.store.read_labels(indices)


def test_patches_are_those_of_the_scene(write_scene: Write) -> None:
    files = write_scene("a")
    found = read_scenes([files], BANDS, patches=SMALL, classes=TABLE)
    (region,) = found.regions
    assert found.classes == ("Water", "Forest", "Urban")
    assert found.store.shape == (8, 8, 2)
    images = found.store.read(region.images)
    labels = read_labels(found, region.images.tolist())
    assert images.dtype == np.float32 and labels.dtype == np.int32
    for label, image, pixel_labels in zip(region.labels, images, labels, strict=True):
        index = found.classes.index(region.class_names[label])
        np.testing.assert_allclose(image[..., 0], (index + 1) * 0.01, rtol=1e-6)
        assert (pixel_labels == index).all()
    first = np.arange(6400).reshape(80, 80) * 1e-4
    for (row, column), image in zip(places_of(found), images, strict=True):
        np.testing.assert_allclose(image[..., 1], first[row : row + 8, column : column + 8], rtol=1e-5)


@pytest.mark.parametrize("stride", [8, 4, 3])
def test_patches_of_different_sources_never_touch(write_scene: Write, stride: int) -> None:
    layout = PatchLayout(size=8, stride=stride, block=24, gap=5, purity=0)
    found = read_scenes([write_scene("a")], BANDS, patches=layout, classes=TABLE)
    (region,) = found.regions
    places = places_of(found)
    apart = np.abs(places[:, None] - places).max(axis=-1) - 8
    different = region.sources[:, None] != region.sources
    assert apart[different].min() >= 5
    assert apart[~different].min() < 0
    assert 0 <= region.sources.min() and region.sources.max() < 16


def test_tasks_keep_support_and_query_apart(write_scene: Write) -> None:
    found = read_scenes([write_scene("a", size=160)], BANDS, patches=PatchLayout(size=8, stride=4), classes=TABLE)
    places = places_of(found)
    for spec in (TaskSpec(3, 2, 2, disjoint_sources=True), PixelTaskSpec(3, 5)):
        for seed in range(10):
            task = make_sampler(found, spec).sample(np.random.default_rng(seed))
            apart = np.abs(places[task.support][:, None] - places[task.query]).max(axis=-1)
            assert apart.min() >= 16  # a patch lies between them


def test_pixel_tasks_read_the_labels(write_scene: Write) -> None:
    found = read_scenes([write_scene("a")], BANDS, patches=SMALL, classes=TABLE)
    task = make_sampler(found, PixelTaskSpec(2, 3)).sample(np.random.default_rng(0))
    batch = gather(found, [task], labels="global")
    assert batch.support_y.shape == (1, 2, 8, 8)
    np.testing.assert_allclose((batch.query_y + 1) * 0.01, batch.query_x[..., 0], rtol=1e-6)


def test_purity_and_coverage_choose_patches(write_scene: Write) -> None:
    ids = np.full((8, 40), 1)
    ids[:, 8:10], ids[:, 16:20], ids[:, 24:32] = 2, 2, 0
    files = write_scene("a", ids=ids)
    write_raster(files.labels.path, ids.astype(np.uint8), grid_of(8, 40), nodata=0)
    counts = {}
    for purity, coverage in itertools.product((0, 0.5, 0.7, 0.9), (0, 0.5)):
        patches = PatchLayout(size=8, block=40, gap=0, purity=purity, coverage=coverage)
        counts[purity, coverage] = read_scenes([files], BANDS, patches=patches, classes=TABLE).reports or {}
    found = {key: (r["a"].patches, r["a"].impure, r["a"].without_labels) for key, r in counts.items()}
    assert [found[purity, 0] for purity in (0, 0.5, 0.7, 0.9)] == [(4, 0, 1), (4, 0, 1), (3, 1, 1), (2, 2, 1)]
    assert found[0, 0.5] == found[0, 0]


def test_the_scenes_without_a_table_name_their_classes(write_scene: Write) -> None:
    found = read_scenes([write_scene("a")], BANDS, patches=SMALL)
    assert found.classes == ("1", "2", "3")


def test_points_label_the_grids_patches_or_their_own(write_scene: Write, tmp_path: Path) -> None:
    places = [
        (3.5, 4.5, "Water"),
        (3.5, 60.5, "Forest"),
        (40.5, 41.5, "Urban"),
        (44.5, 41.5, "Urban"),
        (79.5, 79.5, "Water"),
    ]
    path = write_points(tmp_path / "x.gpkg", places, grid_of(80, 80))
    files = SceneFiles("a", write_scene("a").scene, LabelFiles(path))
    by_grid = read_scenes([files], BANDS, patches=PatchLayout(size=8, block=80, gap=0), classes=TABLE)
    (region,) = by_grid.regions
    assert count_by_name(region.class_names, region.labels) == {"Water": 2, "Forest": 1, "Urban": 1}
    assert (read_labels(by_grid, region.images.tolist()) >= 0).sum() == 5
    own = read_scenes([files], BANDS, patches=PatchLayout(size=8, at="labels", gap=2), classes=TABLE)
    (region,) = own.regions
    assert count_by_name(region.class_names, region.labels) == {"Water": 2, "Forest": 1, "Urban": 2}
    assert {tuple(place) for place in places_of(own).tolist()} == {(0, 0), (0, 56), (36, 37), (40, 37), (72, 72)}
    urban = region.sources[region.labels == region.class_names.index("Urban")]
    assert len(set(urban.tolist())) == 1  # they overlap
    assert len(set(region.sources.tolist())) == 4


def count_by_name(names: tuple[str, ...], labels: np.ndarray) -> dict[str, int]:
    return {name: int((labels == index).sum()) for index, name in enumerate(names)}


def test_labels_on_nodata_and_windows_without_data_do_not_count(write_scene: Write) -> None:
    ids = np.ones((16, 48), int)
    pixels = np.full((16, 48, 2), 500, np.float32)
    pixels[:, :8], pixels[:8, 8:16, 1], pixels[0, 20, 0], pixels[0, 21, 1] = -9999, -9999, np.nan, np.inf
    files = write_scene("a", ids=ids, pixels=pixels, nodata=-9999)
    layout = PatchLayout(size=8, block=48, gap=0, data=0.9)
    found = read_scenes([files], BANDS, patches=layout, classes=TABLE)
    assert found.reports is not None
    report = found.reports["a"]
    assert (report.without_data, report.patches) == (3, 9)
    assert report.labels.on_nodata == 16 * 8 + 8 * 8 + 2
    assert "194 labelled pixels lie where the scene has no data" in found.skipped[0]
    assert places_of(found).tolist()[0] == [0, 16]
    labels = read_labels(found, [0])
    assert np.argwhere(labels[0] < 0).tolist() == [[0, 4], [0, 5]]
    image = found.store.read([0])[0]
    assert image[0, 4].tolist() == [0, pytest.approx(0.05)]
    assert np.isfinite(image).all()


def test_a_scene_of_nodata_alone_is_refused(write_scene: Write) -> None:
    files = write_scene("a", pixels=np.zeros((80, 80, 2), np.uint16), nodata=0)
    with pytest.raises(
        RasterError, match="no label of .*a_lc.tif is left that counts. .*6400 labelled pixels lie where"
    ):
        read_scenes([files], BANDS, patches=SMALL, classes=TABLE)


def test_neighbours_and_a_file_per_band_are_the_scene_that_one_file_is(write_scene: Write, tmp_path: Path) -> None:
    files = write_scene("a")
    expected = read_scenes([files], BANDS, patches=SMALL, classes=TABLE)
    with rasterio.open(path_of(files)) as raster:
        pixels = np.moveaxis(raster.read(), 0, -1)
    whole = grid_of(80, 80)
    parts = {"west": np.s_[:, :37], "east": np.s_[:, 37:]}
    for name, here in parts.items():
        corner = whole.to_map(0, here[1].start or 0)
        grid = grid_of(80, pixels[here].shape[1], corner=corner)
        write_raster(tmp_path / f"{name}.tif", pixels[here], grid, names=("B4", "B3"))
    for layer, name in enumerate(("B04", "B03")):
        write_raster(tmp_path / f"T33_{name}.tif", pixels[..., layer], whole)
    for names in (("west", "east"), ("T33_B03", "T33_B04")):
        sources = tuple(tmp_path / f"{name}.tif" for name in names)
        found = read_scenes([replace(files, scene=sources)], BANDS, patches=SMALL, classes=TABLE)
        assert found.store.names == expected.store.names
        every = np.arange(len(found.store.names))
        np.testing.assert_array_equal(found.store.read(every), expected.store.read(every))
        assert read_labels(found, every.tolist()).tolist() == read_labels(expected, every.tolist()).tolist()
        assert found.regions[0].sources.tolist() == expected.regions[0].sources.tolist()


def test_a_fourth_band_of_bytes_that_is_wanted_is_no_mask(write_scene: Write) -> None:
    """Near infrared of 0 is water, in training as on a map, though GDAL takes it for transparency."""
    pixels = np.full((80, 80, 4), 90, np.uint8)
    pixels[:8, :, 3] = 0
    files = write_scene("a")
    write_raster(path_of(files), pixels, grid_of(80, 80))
    bands = tuple(Band(name, scale=1 / 255) for name in ("R", "G", "B", "N"))
    found = read_scenes([files], bands, patches=SMALL, classes=TABLE)
    assert found.reports is not None and found.reports["a"].labels.on_nodata == 0
    assert found.store.read([0])[0, 0, 0, 0] == pytest.approx(90 / 255)


def test_classes_that_labels_hold_keep_their_colours(write_scene: Write) -> None:
    files = write_scene("a")
    with rasterio.open(files.labels.path, "r+") as raster:
        raster.write_colormap(1, {1: (9, 8, 7, 255), 2: (1, 2, 3, 255), 3: (1, 2, 3, 255)})
    table = read_scenes([files], BANDS, patches=SMALL).class_table
    assert table is not None
    assert table.names == ("1", "2", "3")
    assert table.colours == {0: (9, 8, 7), 1: (1, 2, 3)}  # a colour stands for one class


def test_each_named_area_is_a_region(write_scene: Write, tmp_path: Path) -> None:
    grid = grid_of(80, 80)
    boxes = {"west": (0, 0, 38, 80), "east": (42, 0, 80, 80)}
    corners = [(*grid.to_map(r1, c0), *grid.to_map(r0, c1)) for c0, r0, c1, r1 in boxes.values()]
    shapes = [shapely.box(*corner) for corner in corners]
    areas = geopandas.GeoDataFrame({"name": list(boxes)}, geometry=shapes, crs="EPSG:32633").to_crs("EPSG:4326")
    areas.to_file(tmp_path / "areas.geojson")
    layout = PatchLayout(size=8, stride=4, purity=0)
    found = read_scenes(
        [write_scene("a")], BANDS, patches=layout, classes=TABLE, areas=Areas(tmp_path / "areas.geojson")
    )
    assert found.region_names == ("west", "east")
    assert found.reports is not None and found.reports["a"].outside_areas > 0
    places = places_of(found)
    west, east = found.regions
    assert places[west.images][:, 1].max() + 8 <= 38
    assert places[east.images][:, 1].min() >= 42
    assert not set(west.images.tolist()) & set(east.images.tolist())
    assert set(split_regions(found, {"train": ["west"], "test": ["east"]})) == {"train", "test"}
    both = read_scenes(
        [write_scene("a"), write_scene("bb")],
        BANDS,
        patches=layout,
        classes=TABLE,
        areas=Areas(tmp_path / "areas.geojson"),
    )
    assert both.region_names == ("a/west", "a/east", "bb/west", "bb/east")
    assert [region.place for region in both.regions] == ["west", "east"] * 2


def test_scenes_that_share_ground_are_one_place(write_scene: Write) -> None:
    scenes = [
        write_scene("may"),
        write_scene("far", corner=(600000, 5000000)),
        write_scene("june", corner=(500400, 5000000)),
        write_scene("july", corner=(501700, 5000000)),  # overlaps june only
    ]
    found = read_scenes(scenes, BANDS, patches=SMALL, classes=TABLE)
    assert [region.place for region in found.regions] == ["may", "far", "may", "may"]
    with pytest.raises(TaskError, match="place 'may' .* both 'train' and 'test'"):
        split_regions(found, {"train": ["june"], "test": ["july"]})
    named = [SceneFiles(s.name, s.scene, s.labels, place=s.name) for s in scenes]
    found = read_scenes(named, BANDS, patches=SMALL, classes=TABLE)
    assert [region.place for region in found.regions] == ["may", "far", "june", "july"]


def test_sources_of_one_place_are_the_same_ground_in_both_seasons(write_scene: Write) -> None:
    found = read_scenes([write_scene("may"), write_scene("june")], BANDS, patches=SMALL, classes=TABLE)
    first, second = found.regions
    assert first.sources.tolist() == second.sources.tolist()
    other = read_scenes(
        [write_scene("may"), write_scene("june", corner=(500400, 5000000))], BANDS, patches=SMALL, classes=TABLE
    )
    first, second = other.regions
    assert not set(first.sources.tolist()) & set(second.sources.tolist())


def test_missing_bands_are_nought(write_scene: Write, tmp_path: Path) -> None:
    whole, part = write_scene("a"), write_scene("b", corner=(600000, 5000000))
    one = np.full((80, 80, 1), 700, np.uint16)
    write_raster(path_of(part), one, grid_of(80, 80, corner=(600000, 5000000)), names=("B3",))
    with pytest.raises(RasterError, match="b.tif has the bands B3; expected B4, B3, but B4 is not among them"):
        read_scenes([whole, part], BANDS, patches=SMALL, classes=TABLE)
    found = read_scenes([whole, part], BANDS, patches=SMALL, classes=TABLE, missing="allow")
    first, last = 0, len(found.store.names) - 1
    image = found.store.read([last])[0]
    assert not image[..., 0].any()
    np.testing.assert_allclose(image[..., 1], 0.07, rtol=1e-6)
    assert found.store.read([first])[..., 0].any()


def test_bad_scenes_are_refused_with_their_names(write_scene: Write, tmp_path: Path) -> None:
    good = write_scene("a")
    with pytest.raises(RecipeError, match="two scenes are called 'a'"):
        read_scenes([good, good], BANDS, classes=TABLE)
    with pytest.raises(RecipeError, match="no scene was named"):
        read_scenes([], BANDS)
    with pytest.raises(RasterError, match="a.tif is 80x80 pixels, smaller than a patch of 96x96"):
        read_scenes([good], BANDS, patches=PatchLayout(size=96), classes=TABLE)
    with pytest.raises(RasterError, match="thin.tif is 80x1 pixels, smaller than a patch of 8x8"):
        read_scenes([write_scene("thin", ids=np.ones((80, 1), int))], BANDS, patches=SMALL, classes=TABLE)
    with pytest.raises(RasterError, match="a.tif, band 1 .B4. has a typical value of .*; times 1 .*say scale = 1e-4"):
        read_scenes([good], (Band("B4"), Band("B3")), patches=SMALL, classes=TABLE)
    with pytest.raises(ManifestError, match="a_lc.tif, rows .*: 3 .* stand for no class in class table two"):
        two = class_table("two", [{"id": 1, "name": "Water"}, {"id": 2, "name": "Forest"}])
        read_scenes([good], BANDS, patches=SMALL, classes=two)
    mixed = write_scene("mixed", ids=1 + np.indices((80, 80)).sum(axis=0) % 2)
    with pytest.raises(RasterError, match="no patch of .*mixed.tif is left: .* 64 no class with 60%"):
        read_scenes([mixed], BANDS, patches=PatchLayout(size=8, purity=0.6), classes=TABLE)
    with pytest.raises(DataNotFoundError, match="none.tif"):
        read_scenes([SceneFiles("a", tmp_path / "none.tif", good.labels)], BANDS)
    whole = path_of(good).read_bytes()
    path_of(good).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(RasterError, match="a.tif.*cannot be read"):
        read_scenes([good], BANDS, patches=SMALL, classes=TABLE)


def test_two_areas_of_one_name_are_refused(write_scene: Write, tmp_path: Path) -> None:
    grid = grid_of(80, 80)
    shapes = [shapely.box(*grid.to_map(80, left), *grid.to_map(0, left + 30)) for left in (0, 40)]
    geopandas.GeoDataFrame({"name": ["x", "x"]}, geometry=shapes, crs="EPSG:32633").to_file(tmp_path / "areas.gpkg")
    with pytest.raises(RecipeError, match="two areas of .*areas.gpkg are called 'x'"):
        read_scenes([write_scene("a")], BANDS, patches=SMALL, classes=TABLE, areas=Areas(tmp_path / "areas.gpkg"))


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 8, "block": 7}, {"size": 8, "gap": -1}, {"purity": 1.5}, {"data": -1}]
)
def test_a_layout_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="expected sizes|shares from 0 to 1"):
        PatchLayout(**wrong)  # type: ignore[arg-type]


def test_memory_holds_the_index_alone(write_scene: Write) -> None:
    files = write_scene("big", size=1500)
    tracemalloc.start()
    found = read_scenes([files], BANDS, patches=PatchLayout(size=16, purity=0), classes=TABLE)
    kept, most = tracemalloc.get_traced_memory()
    found.store.read([0, 1, 2])
    tracemalloc.stop()
    pixels = 1500 * 1500 * 2 * 4  # as float32
    assert len(found.store.names) > 4000
    assert kept < pixels / 8
    assert most < pixels / 2


def real(data_root: Path, **layout: float) -> SceneSet:
    folder = data_root / "scene_maryland"
    names = ("Water", "Tree canopy", "Low vegetation", "Barren", "Impervious", "Roads")
    table = class_table("Chesapeake", [{"id": n, "name": name} for n, name in enumerate(names, start=1)])
    bands = [Band(f"band {n}", scale=1e-4) for n in range(1, 8)]
    bands += [Band(f"band {n}", scale=1e-3 / 10, unit="kelvin / 1000") for n in (8, 9)]
    return read_scenes(
        [SceneFiles("maryland", folder / "landsat_leaf_on.tif", LabelFiles(folder / "landcover.tif"))],
        bands,
        patches=PatchLayout(**layout),  # type: ignore[arg-type]
        classes=table,
    )


def test_the_real_scene(data_root: Path) -> None:
    found = real(data_root, size=16, purity=0.6)
    (region,) = found.regions
    assert found.reports is not None
    report = found.reports["maryland"]
    assert sum(report.labels.pixels.values()) == 260 * 260
    assert report.labels.pixels["Barren"] == 81
    assert report.patches + report.impure == 169
    assert "the scene describes no band; they were taken in the order of the file" in found.skipped[0]
    counts = count_by_name(region.class_names, region.labels)
    assert counts["Tree canopy"] > 10 * counts["Low vegetation"] > 0  # very imbalanced
    images = found.store.read(region.images[:20])
    assert 0 < images.min() and images.max() < 1.1
    labels = read_labels(found, region.images[:20].tolist())
    modal = [np.bincount(each.ravel(), minlength=6).argmax() for each in labels]
    assert [found.classes[index] for index in modal] == [region.class_names[index] for index in region.labels[:20]]
