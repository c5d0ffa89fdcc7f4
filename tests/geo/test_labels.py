import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pyogrio
import pytest
import shapely

from fewshot.errors import DamagedDataError, DataNotFoundError, ManifestError, RasterError, RecipeError
from fewshot.geo.grid import Grid
from fewshot.geo.labels import CONTRADICTED, LabelFiles, LabelTally, RasterLabels, VectorLabels, open_labels
from fewshot.geo.landcover import ClassTable, LandClass, class_table
from fewshot.geo.points import groups_apart, labelled_points
from fewshot.geo.rasters import RasterInfo, RasterReader, describe_raster
from fewshot.geo.vectors import areas_holding, read_features, read_values
from fewshot.geo.windows import Window, blocks
from fewshot.geo.writing import write_raster

Make = Callable[..., Grid]
TABLE = class_table(
    "t", [{"id": 1, "name": "Water"}, {"id": 2, "name": "Forest"}, {"id": 9, "name": "Cloud", "ignored": True}]
)
ENDINGS = ("gpkg", "geojson", "shp")
ALL = Window(0, 0, 20, 30)
# Of the scene below: in pixels, x is the column and y the row.
SHAPES = [
    (shapely.Point(3.2, 2.7), "Water"),
    (shapely.box(10, 5, 15, 9), "Forest"),
    (shapely.LineString([(20.5, 2.5), (20.5, 12.5)]), "Water"),
]


def on_map(shape: shapely.Geometry, grid: Grid) -> shapely.Geometry:
    """Turn a geometry in pixels into one in map coordinates."""
    return shapely.transform(shape, lambda xy: np.stack(grid.to_map(xy[:, 1], xy[:, 0]), axis=1))


def write_vectors(
    path: Path, shapes: Sequence[tuple[shapely.Geometry | None, object]], grid: Grid, *, crs: str = ""
) -> Path:
    path.parent.mkdir(exist_ok=True)
    geometries = [shape and on_map(shape, grid) for shape, _ in shapes]
    frame = geopandas.GeoDataFrame(
        {"class": [name for _, name in shapes]}, geometry=geometries, crs=grid.crs and grid.crs.to_wkt()
    )
    (frame.to_crs(crs) if crs else frame).to_file(path)
    return path


def expected_labels() -> np.ndarray:
    labels = np.full((20, 30), -1)
    labels[2, 3], labels[5:9, 10:15], labels[2:13, 20] = 0, 1, 0
    return labels


@pytest.fixture
def scene(tmp_path: Path, make_grid: Make) -> RasterInfo:
    """A scene of 20x30 pixels without pixels of interest."""
    write_raster(tmp_path / "scene.tif", np.ones((20, 30, 2), np.uint16), make_grid())
    return describe_raster(tmp_path / "scene.tif")


def read_all(layer: RasterLabels | VectorLabels, grid: Grid) -> np.ndarray:
    return layer.read(Window(0, 0, grid.height, grid.width))


@pytest.mark.parametrize("crs", ["", "EPSG:4326", "EPSG:3857", "EPSG:32632"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_points_lines_and_polygons_in_any_format_and_crs(
    tmp_path: Path, scene: RasterInfo, ending: str, crs: str
) -> None:
    path = write_vectors(tmp_path / "one.gpkg", SHAPES, scene.grid, crs=crs)
    if ending == "shp":  # a shapefile holds one kind of geometry
        found = np.full((20, 30), -1)
        for number, shape in enumerate(SHAPES):
            path = write_vectors(tmp_path / f"{number}.shp", [shape], scene.grid, crs=crs)
            found = np.maximum(found, read_all(open_labels(RasterReader(), LabelFiles(path), scene, TABLE), scene.grid))
    else:
        path = write_vectors(tmp_path / f"all.{ending}", SHAPES, scene.grid, crs=crs)
        found = read_all(open_labels(RasterReader(), LabelFiles(path), scene, TABLE), scene.grid)
    np.testing.assert_array_equal(found, expected_labels())


@pytest.mark.parametrize("degrees", [0, 30, 200])
@pytest.mark.parametrize("pixel", [(10, 10), (23.6, 29.5)])
def test_labels_fall_on_their_pixels_in_rotated_scenes_of_any_pixel(
    tmp_path: Path, make_grid: Make, degrees: float, pixel: tuple[float, float]
) -> None:
    grid = make_grid(degrees=degrees, pixel=pixel)
    path = write_vectors(tmp_path / "x.gpkg", SHAPES, grid, crs="EPSG:4326")
    layer = VectorLabels(read_features(path, grid, scene="scene"), TABLE)
    np.testing.assert_array_equal(read_all(layer, grid), expected_labels())


def test_a_window_is_that_part_of_all_labels(tmp_path: Path, scene: RasterInfo) -> None:
    rng = np.random.default_rng(0)
    shapes = [
        (shapely.Point(x, y).buffer(r) if r > 1 else shapely.Point(x, y), ("Water", "Forest")[int(x) % 2])
        for x, y, r in rng.uniform((0, 0, 0), (30, 20, 4), (40, 3))
    ]
    path = write_vectors(tmp_path / "x.gpkg", shapes, scene.grid)
    layer = VectorLabels(read_features(path, scene.grid, scene="scene"), TABLE, radius=1)
    whole = read_all(layer, scene.grid)
    assert set(np.unique(whole)) == {CONTRADICTED, -1, 0, 1}
    for window in blocks(20, 30, 7):
        np.testing.assert_array_equal(layer.read(window), whole[window.slices])


def test_a_point_labels_its_neighbourhood(tmp_path: Path, scene: RasterInfo) -> None:
    path = write_vectors(
        tmp_path / "x.gpkg", [(shapely.Point(3.2, 0.7), 1), (shapely.Point(5.1, 2.2), "2")], scene.grid
    )
    labels = read_all(open_labels(RasterReader(), LabelFiles(path, radius=1), scene, TABLE), scene.grid)
    expected = np.full((20, 30), -1)
    expected[0:2, 2:5], expected[1:4, 4:7], expected[1, 4] = 0, 1, CONTRADICTED
    np.testing.assert_array_equal(labels, expected)


def test_the_summary_counts_what_became_of_each_feature(tmp_path: Path, scene: RasterInfo) -> None:
    shapes = [
        *SHAPES,
        (shapely.Point(40, 5), "Water"),  # outside
        (shapely.Point(30.0, 5), "Water"),  # on the border, in no pixel
        (None, "Water"),
        (shapely.Point(1, 1), None),
        (shapely.box(7.6, 7.6, 8.4, 8.4), "Forest"),  # holds no pixel's centre
        (shapely.Point(5.5, 5.5), "Cloud"),
        (shapely.Point(12.5, 6.5), "Water"),  # contradicts the polygon
        (shapely.Point(0.5, 0.5), "Water"),  # on nodata
        (shapely.box(0, 15, 3, 18), "Forest"),  # partly on nodata
    ]
    path = write_vectors(tmp_path / "x.gpkg", shapes, scene.grid)
    layer = open_labels(RasterReader(), LabelFiles(path), scene, TABLE)
    tally = LabelTally(layer)
    has_data = np.ones((20, 30), np.bool_)
    has_data[0, 0] = has_data[15] = False
    for window in blocks(20, 30, 8):
        tally.add(window, layer.read(window), has_data[window.slices])
    found = tally.summary()
    assert found.pixels == {"Water": 12, "Forest": 19 + 6}
    assert found.examples == {"Water": 4, "Forest": 2}
    counts = (found.features, found.outside, found.unusable, found.without_pixel, found.ignored)
    assert counts == (12, 2, 2, 1, 1)
    assert (found.on_nodata, found.contradicting) == (4, 1)
    said = "\n".join(found.lines())
    assert "x.gpkg: 2 of 12 features lie outside of the scene." in said
    assert "x.gpkg: 4 labelled pixels lie where the scene has no data, or is masked." in said
    assert "x.gpkg: 1 pixels are claimed by features of different classes and do not count." in said


def test_a_class_with_one_example_is_named(tmp_path: Path, scene: RasterInfo) -> None:
    layer = open_labels(
        RasterReader(), LabelFiles(write_vectors(tmp_path / "x.gpkg", SHAPES, scene.grid)), scene, TABLE
    )
    tally = LabelTally(layer)
    whole = Window(0, 0, 20, 30)
    tally.add(whole, layer.read(whole), np.ones((20, 30), np.bool_))
    found = tally.summary()
    assert found.lone == ("Forest",)
    assert found.lines() == (f"{layer.path}: only one example of Forest.",)


def test_nothing_left_says_why(tmp_path: Path, scene: RasterInfo) -> None:
    layer = open_labels(
        RasterReader(), LabelFiles(write_vectors(tmp_path / "x.gpkg", SHAPES[:1], scene.grid)), scene, TABLE
    )
    tally = LabelTally(layer)
    whole = Window(0, 0, 20, 30)
    tally.add(whole, layer.read(whole), np.zeros((20, 30), np.bool_))
    with pytest.raises(RasterError, match="no label of .*x.gpkg is left that counts.*1 labelled pixels lie where"):
        tally.summary()


def test_labels_outside_of_the_scene_are_refused(tmp_path: Path, scene: RasterInfo, make_grid: Make) -> None:
    elsewhere = make_grid(corner=(600000, 5000000))
    path = write_vectors(tmp_path / "x.gpkg", SHAPES, elsewhere)
    with pytest.raises(RasterError, match="none of the 3 features of .*x.gpkg lies in .*scene.tif. They span x 600032"):
        open_labels(RasterReader(), LabelFiles(path), scene, TABLE)


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_a_missing_crs_is_refused_with_the_remedy(tmp_path: Path, scene: RasterInfo, make_grid: Make) -> None:
    bare = make_grid(crs=None)
    path = write_vectors(tmp_path / "x.shp", SHAPES[:1], bare)
    with pytest.raises(RasterError, match="x.shp names no CRS.*ogr2ogr -a_srs"):
        open_labels(RasterReader(), LabelFiles(path), scene, TABLE)
    write_raster(tmp_path / "bare.tif", np.ones((20, 30), np.uint8), bare)
    with pytest.raises(RasterError, match="the labels .*bare.tif names no CRS.*rio edit-info --crs"):
        open_labels(RasterReader(), LabelFiles(tmp_path / "bare.tif"), scene, TABLE)
    good = write_vectors(tmp_path / "x.gpkg", SHAPES, scene.grid)
    with pytest.raises(RasterError, match="bare.tif names no CRS, and .*x.gpkg is in EPSG:32633.*rio edit-info --crs"):
        open_labels(RasterReader(), LabelFiles(good), describe_raster(tmp_path / "bare.tif"), TABLE)


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_and_a_scene_without_a_crs_share_one_plane(tmp_path: Path, make_grid: Make, ending: str) -> None:
    bare = make_grid(crs=None, degrees=20)
    write_raster(tmp_path / "bare.tif", np.ones((20, 30), np.uint8), bare)
    path = write_vectors(tmp_path / f"x.{ending}", [SHAPES[1]], bare)
    layer = open_labels(RasterReader(), LabelFiles(path), describe_raster(tmp_path / "bare.tif"), TABLE)
    assert np.array_equal(np.argwhere(layer.read(ALL) == 1), np.argwhere(expected_labels() == 1))
    away = write_vectors(tmp_path / f"y.{ending}", [(shapely.Point(900, 5), "Water")], bare)
    with pytest.raises(RasterError, match="in no CRS; the scene x .* in no CRS"):
        read_features(away, bare, scene="the scene")


def test_a_class_raster_of_the_same_pixels_needs_no_crs(tmp_path: Path, make_grid: Make) -> None:
    classes = np.where(expected_labels() < 0, 0, expected_labels() + 1).astype(np.uint8)
    write_raster(tmp_path / "classes.tif", classes, make_grid(crs=None), nodata=0)
    write_raster(tmp_path / "scene.tif", np.ones((20, 30), np.uint8), make_grid(crs=None))
    files, scene = LabelFiles(tmp_path / "classes.tif"), describe_raster(tmp_path / "scene.tif")
    assert np.array_equal(open_labels(RasterReader(), files, scene, TABLE).read(ALL), expected_labels())
    write_raster(tmp_path / "other.tif", np.ones((40, 60), np.uint8), make_grid(40, 60, crs=None, pixel=(5, 5)))
    with pytest.raises(RasterError, match=r"the labels .*classes\.tif names no CRS"):
        open_labels(RasterReader(), files, describe_raster(tmp_path / "other.tif"), TABLE)


def test_an_unknown_class_is_named(tmp_path: Path, scene: RasterInfo) -> None:
    path = write_vectors(tmp_path / "x.gpkg", [*SHAPES, (shapely.Point(1, 1), "Watre")], scene.grid)
    with pytest.raises(ManifestError, match="x.gpkg has class 'Watre'.*Did you mean 'Water'"):
        open_labels(RasterReader(), LabelFiles(path), scene, TABLE)


def test_the_field_is_found_or_asked_for(tmp_path: Path, scene: RasterInfo) -> None:
    points = geopandas.points_from_xy(*scene.grid.to_map(np.array([2.5, 3.5]), np.array([3.5, 9.5])))
    columns = {"fid2": [1, 2], "crop": ["Water", "Forest"], "code": [2.0, 1.0]}
    frame = geopandas.GeoDataFrame(columns, geometry=points, crs=scene.grid.crs.to_wkt())
    path = tmp_path / "x.gpkg"
    frame.to_file(path)
    with pytest.raises(RecipeError, match="fields fid2, crop, code, none .*Name the one .*--label-field"):
        open_labels(RasterReader(), LabelFiles(path), scene, TABLE)
    frame.rename(columns={"crop": "Class"}).to_file(tmp_path / "capital.gpkg")
    assert open_labels(RasterReader(), LabelFiles(tmp_path / "capital.gpkg"), scene, TABLE)
    with pytest.raises(RecipeError, match="expected 'kind'"):
        open_labels(RasterReader(), LabelFiles(path, "kind"), scene, TABLE)
    by_name = read_all(open_labels(RasterReader(), LabelFiles(path, "crop"), scene, TABLE), scene.grid)
    by_code = read_all(open_labels(RasterReader(), LabelFiles(path, "code"), scene, TABLE), scene.grid)
    assert (by_name[2, 3], by_name[3, 9], by_code[2, 3], by_code[3, 9]) == (0, 1, 1, 0)
    assert read_values(path, field="code") == (1, 2)
    assert read_values(path, field="crop") == ("Forest", "Water")


def test_what_is_no_vector_layer_says_so(tmp_path: Path, scene: RasterInfo) -> None:
    with pytest.raises(DataNotFoundError, match="there is no vector file"):
        open_labels(RasterReader(), LabelFiles(tmp_path / "x.gpkg"), scene, TABLE)
    (tmp_path / "x.gpkg").write_bytes(b"no layer")
    with pytest.raises(DamagedDataError, match="x.gpkg cannot be read as vectors"):
        open_labels(RasterReader(), LabelFiles(tmp_path / "x.gpkg"), scene, TABLE)
    path = write_vectors(tmp_path / "y.gpkg", SHAPES, scene.grid)
    geopandas.read_file(path).to_file(path, layer="more")
    with pytest.raises(DamagedDataError, match="y.gpkg has the layers y, more; expected one"):
        open_labels(RasterReader(), LabelFiles(path), scene, TABLE)


def test_tables_beside_the_layer_do_not_matter(scene: RasterInfo, tmp_path: Path) -> None:
    """QGIS keeps the styles of a GeoPackage's layers in a table of it, `layer_styles`."""
    path = write_vectors(tmp_path / "x.gpkg", SHAPES, scene.grid)
    styles = pandas.DataFrame({"f_table_name": ["x"], "styleQML": ["<qgis/>"]})
    pyogrio.write_dataframe(styles, path, layer="layer_styles", driver="GPKG", append=True)
    assert read_features(path, scene.grid, scene="the scene").total == len(SHAPES)
    assert read_values(path)


def test_a_zipped_shapefile_is_read(tmp_path: Path, scene: RasterInfo) -> None:
    write_vectors(tmp_path / "x" / "x.shp", SHAPES[1:2], scene.grid)
    path = Path(shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path / "x"))
    assert (read_all(open_labels(RasterReader(), LabelFiles(path), scene, TABLE), scene.grid)[5:9, 10:15] == 1).all()


def test_a_self_crossing_polygon_is_mended(tmp_path: Path, scene: RasterInfo) -> None:
    bow = shapely.Polygon([(2, 2), (10, 10), (10, 2), (2, 10)])
    layer = VectorLabels(
        read_features(write_vectors(tmp_path / "x.gpkg", [(bow, "Water")], scene.grid), scene.grid, scene="s"), TABLE
    )
    labels = read_all(layer, scene.grid)
    assert (labels[6, 3], labels[6, 8], labels[3, 6]) == (0, 0, -1)


@pytest.mark.parametrize("crs", ["EPSG:32660", "EPSG:4326"])
@pytest.mark.parametrize("kind", ["jump", "split", "beyond"])
def test_labels_cross_the_antimeridian(tmp_path: Path, make_grid: Make, crs: str, kind: str) -> None:
    """A polygon from 179.95 E to 179.95 W, as programs write it: with a jump, in two parts, or beyond 180 degrees."""
    if crs == "EPSG:4326":
        grid = make_grid(40, 40, crs=crs, corner=(179.8, 0.2), pixel=(0.01, 0.01))
    else:
        grid = make_grid(40, 40, crs=crs, corner=(811700, 22100), pixel=(1113, 1113))
    box = shapely.box
    polygon = {
        "jump": shapely.Polygon([(179.95, -0.05), (-179.95, -0.05), (-179.95, 0.05), (179.95, 0.05)]),
        "split": shapely.MultiPolygon([box(179.95, -0.05, 180, 0.05), box(-180, -0.05, -179.95, 0.05)]),
        "beyond": box(179.95, -0.05, 180.05, 0.05),
    }[kind]
    frame = geopandas.GeoDataFrame({"class": ["Water"]}, geometry=[polygon], crs="EPSG:4326")
    frame.to_file(tmp_path / "x.gpkg")
    labels = read_all(VectorLabels(read_features(tmp_path / "x.gpkg", grid, scene="s"), TABLE), grid)
    rows, columns = np.nonzero(labels == 0)
    assert 81 <= len(rows) <= 121  # about 10x10 pixels
    assert abs(rows.mean() - 19.5) < 1.5 and abs(columns.mean() - 19.5) < 1.5


def test_a_class_raster_on_the_scenes_grid(tmp_path: Path, scene: RasterInfo) -> None:
    ids = np.random.default_rng(0).choice(np.array([0, 1, 2, 9], np.uint8), (20, 30))
    write_raster(tmp_path / "x.tif", ids, scene.grid, nodata=0)
    layer = open_labels(RasterReader(), LabelFiles(tmp_path / "x.tif"), scene, TABLE)
    expected = np.array([-1, 0, 1] + [-1] * 7)[ids]
    np.testing.assert_array_equal(layer.read(Window(2, 3, 9, 11)), expected[2:11, 3:14])
    tally = LabelTally(layer)
    tally.add(Window(0, 0, 20, 30), read_all(layer, scene.grid), np.ones((20, 30), np.bool_))
    found = tally.summary()
    assert found.pixels == {"Water": int((ids == 1).sum()), "Forest": int((ids == 2).sum())}
    assert found.lines() == ()


def test_zero_is_a_class_where_the_file_names_no_nodata(tmp_path: Path, scene: RasterInfo) -> None:
    write_raster(tmp_path / "x.tif", np.zeros((20, 30), np.uint8), scene.grid)
    zero = ClassTable("z", (LandClass("nought", (0,)),))
    assert (read_all(open_labels(RasterReader(), LabelFiles(tmp_path / "x.tif"), scene, zero), scene.grid) == 0).all()
    with pytest.raises(ManifestError, match=r"x.tif, rows .*: 0 \(600 pixels\) stand for no class"):
        read_all(open_labels(RasterReader(), LabelFiles(tmp_path / "x.tif"), scene, TABLE), scene.grid)


def test_a_class_raster_on_another_grid_is_laid_over_the_scene_and_noted(
    tmp_path: Path, scene: RasterInfo, make_grid: Make
) -> None:
    ids = np.random.default_rng(0).integers(1, 3, (10, 15)).astype(np.uint8)
    write_raster(tmp_path / "x.tif", ids, make_grid(10, 15, pixel=(20, 20)))
    layer = open_labels(RasterReader(), LabelFiles(tmp_path / "x.tif"), scene, TABLE)
    labels = read_all(layer, scene.grid)
    np.testing.assert_array_equal(labels, ids.repeat(2, 0).repeat(2, 1) - 1)
    tally = LabelTally(layer)
    tally.add(Window(0, 0, 20, 30), labels, np.ones((20, 30), np.bool_))
    assert "on another grid than the scene; each pixel takes the nearest label" in tally.summary().lines()[0]


def test_a_class_raster_that_does_not_fit_is_refused(tmp_path: Path, scene: RasterInfo, make_grid: Make) -> None:
    write_raster(tmp_path / "far.tif", np.ones((20, 30), np.uint8), make_grid(corner=(700000, 5000000)))
    with pytest.raises(RasterError, match="far.tif and .*scene.tif have no ground in common: x 700000 to 700300"):
        open_labels(RasterReader(), LabelFiles(tmp_path / "far.tif"), scene, TABLE)
    with pytest.raises(RasterError, match="scene.tif has 2 bands; expected a class raster, of one band"):
        open_labels(RasterReader(), LabelFiles(scene.path), scene, TABLE)


def test_one_pixel_of_each_feature(tmp_path: Path, scene: RasterInfo) -> None:
    shapes = [
        *SHAPES,
        (shapely.MultiPoint([(1.5, 1.5), (8.5, 1.5)]), "Forest"),
        (shapely.box(25, 15, 60, 40), "Forest"),  # its middle is outside, not its part in the scene
        (shapely.Point(3.9, 2.1), "Water"),  # in the pixel of the first, of its class
        (shapely.Point(6.2, 6.2), "Water"),
        (shapely.Point(6.8, 6.8), "Forest"),  # contradicts the one before
        (shapely.Point(0.5, 19.5), "Water"),  # on nodata
        (shapely.Point(5.5, 5.5), "Cloud"),
    ]
    path = write_vectors(tmp_path / "x.gpkg", shapes, scene.grid)
    layer = VectorLabels(read_features(path, scene.grid, scene="s"), TABLE)
    has_data = np.ones((20, 30), np.bool_)
    has_data[19, 0] = False
    labelled = labelled_points(layer, scene.grid, read_valid=lambda window: has_data[window.slices])
    found = labelled.examples
    placed = set(zip(found.rows.tolist(), found.columns.tolist(), found.labels.tolist(), strict=True))
    assert {(2, 3, 0), (1, 1, 1), (1, 8, 1)} < placed
    assert len(placed) == len(found.rows) == 6
    whole = read_all(layer, scene.grid)
    assert (whole[found.rows, found.columns] == found.labels).all()
    counts = labelled.summary
    assert (counts.on_nodata, counts.contradicting, counts.ignored, counts.outside) == (1, 1, 1, 0)
    assert counts.examples == {"Water": 2, "Forest": 4}
    with pytest.raises(RasterError, match="no label of .*x.gpkg is left that counts"):
        labelled_points(layer, scene.grid, read_valid=lambda w: np.zeros((w.height, w.width), np.bool_))


def test_groups_of_patches_are_apart(make_grid: Make) -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 400, (2, 60))
    groups = groups_apart(rows, columns, size=16, gap=8)
    apart = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns)) - 16
    assert len(np.unique(groups)) > 3
    assert apart[groups[:, None] != groups].min() > 8
    # Patches in a row, each as near to the next as may not be, are one group; a little further they are not.
    assert len(np.unique(groups_apart(np.zeros(5, int), np.arange(5) * 24, size=16, gap=8))) == 1
    assert len(np.unique(groups_apart(np.zeros(5, int), np.arange(5) * 25, size=16, gap=8))) == 5
    assert len(np.unique(groups_apart(np.arange(5) * 24, np.arange(5) * 24, size=16, gap=8))) == 1


def test_an_area_holds_the_patches_wholly_inside(tmp_path: Path, scene: RasterInfo) -> None:
    areas = [(shapely.box(0, 0, 12, 20), "west"), (shapely.box(10, 0, 30, 20), "east")]
    features = read_features(write_vectors(tmp_path / "x.gpkg", areas, scene.grid), scene.grid, scene="s")
    rows, columns = np.zeros(5, np.int64), np.array([0, 8, 9, 10, 26])
    held = areas_holding(features, rows, columns, 4)
    assert [features.values[i] if i >= 0 else "" for i in held] == ["west", "west", "", "east", "east"]
    assert areas_holding(features, np.array([0]), np.array([10]), 2).tolist() == [-1]  # in both
