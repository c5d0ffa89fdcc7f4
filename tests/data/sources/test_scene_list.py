"""Lists of scenes: one file names everything, and says what is wrong in it."""

import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely

from fewshot.data.sources.scene_list import read_scene_list
from fewshot.errors import DataNotFoundError, RasterError, RecipeError
from fewshot.geo.bands import Band
from fewshot.geo.composing import PicturePlan
from fewshot.geo.composite import open_dates
from fewshot.geo.pictures import open_pictures
from fewshot.geo.windows import Window
from tests.data.conftest import Write, grid_of, path_of
from tests.geo.published import pack, write_safe

LIST = """
label_field = "kind"
classes = "classes.csv"
name = "my fields"
[[scenes]]
scene = "scenes/*.tif"
labels = "{name}.gpkg"
[[bands]]
name = "B3"
scale = 1e-4
[patches]
size = 8
purity = 0.0
"""


@pytest.fixture
def listed(write_scene: Write, tmp_path: Path) -> Path:
    """A list of two scenes with labelled points and polygons."""
    (tmp_path / "scenes").mkdir()
    for name, corner in (("north", (500000, 5000000)), ("south", (500000, 4990100))):
        grid = grid_of(80, 80, corner=corner)
        path_of(write_scene(name, corner=corner)).rename(tmp_path / f"scenes/{name}.tif")
        shapes = [shapely.box(*grid.to_map(40, 0), *grid.to_map(0, 80)), shapely.Point(*grid.to_map(60.5, 30.5))]
        frame = geopandas.GeoDataFrame({"kind": ["Wheat", "Maize"], "n": [1, 2]}, geometry=shapes, crs="EPSG:32633")
        frame.to_file(tmp_path / f"{name}.gpkg")
    (tmp_path / "classes.csv").write_text("id,name,colour,ignored\n1,Maize,,\n2,Wheat,#ffff00,\n3,Rye,,\n")
    path = tmp_path / "list.toml"
    path.write_text(LIST)
    return path


def test_a_list_names_everything(listed: Path) -> None:
    found = read_scene_list(listed)
    assert (found.name, found.region_names, found.classes) == (
        "my fields",
        ("north", "south"),
        ("Maize", "Wheat", "Rye"),
    )
    assert found.store.shape == (8, 8, 1)
    assert [region.class_names for region in found.regions] == [("Maize", "Wheat")] * 2
    assert found.skipped == (
        f"{listed.parent / 'north.gpkg'}: only one example of Maize, Wheat.",
        f"{listed.parent / 'south.gpkg'}: only one example of Maize, Wheat.",
    )


def test_a_list_may_leave_bands_and_classes_to_the_files(listed: Path) -> None:
    text = LIST.replace('classes = "classes.csv"', "scale = 1e-4").replace('[[bands]]\nname = "B3"\nscale = 1e-4\n', "")
    listed.write_text(text)
    found = read_scene_list(listed)
    assert found.classes == ("Maize", "Wheat")
    assert found.store.shape == (8, 8, 2)
    listed.write_text(text.replace("scale = 1e-4", ""))
    with pytest.raises(RasterError, match="north.tif has uint16 pixels, whose scale is not known"):
        read_scene_list(listed)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "my fields"', 'nam = "x"', "unknown key nam. Did you mean 'name'"),
        ("size = 8", 'size = "8"', "patches.size = '8': expected a whole number"),
        ("scenes/*.tif", "scenes/*.vrt", "no file is called .*vrt"),
        ('"scenes/*.tif"', "[]", r"scene = \[\] names no file"),
        ("scenes/*.tif", "/vsizip/none.zip/a.tif", "there is no raster .*none.zip/a.tif: .*none.zip is missing"),
        ('"scenes/*.tif"', """'NETCDF:"none.nc":b'""", "there is no raster NETCDF.*none.nc is missing"),
        ('labels = "{name}.gpkg"', 'labels = "{name}.gpkg"\nname = "x"', "stands for several files"),
        ("[[bands]]", "[[bands", "cannot be read"),
    ],
)
def test_a_wrong_list_says_what_is_wrong(listed: Path, old: str, new: str, said: str) -> None:
    listed.write_text(LIST.replace(old, new))
    with pytest.raises((RecipeError, DataNotFoundError), match=said):
        read_scene_list(listed)
    with pytest.raises(DataNotFoundError, match="no list of scenes"):
        read_scene_list(listed.with_name("none.toml"))


def test_a_scene_may_be_several_files_and_have_any_name_of_gdals(listed: Path) -> None:
    """Paths are relative to the list, also those inside a driver's name."""
    expected = read_scene_list(listed)
    folder = listed.parent
    with zipfile.ZipFile(folder / "south.zip", "w") as archive:
        archive.write(folder / "scenes/south.tif", "deep/south.tif")
    for layer in (1, 2):
        rasterio.shutil.copy(f"vrt://{folder}/scenes/north.tif?bands={layer}", folder / f"north_{layer}.tif")
    entry = """[[scenes]]
scene = ["north_2.tif", "GTIFF_DIR:1:north_1.tif"]
name = "north"
bands = ["B3", "B4"]
labels = "{name}.gpkg"
[[scenes]]
scene = "/vsizip/south.zip/deep/south.tif"
labels = "{name}.gpkg"
"""
    for layer in (1, 2):  # one band each, of no name
        with rasterio.open(folder / f"north_{layer}.tif", "r+") as raster:
            raster.set_band_description(1, "")
    listed.write_text(LIST.replace('[[scenes]]\nscene = "scenes/*.tif"\nlabels = "{name}.gpkg"\n', entry))
    found = read_scene_list(listed)
    assert found.region_names == expected.region_names
    every = np.arange(len(expected.store.names))
    np.testing.assert_array_equal(found.store.read(every), expected.store.read(every))
    listed.write_text(listed.read_text().replace('bands = ["B3", "B4"]', ""))
    with pytest.raises(RasterError, match="are the 2 bands of one scene; .* in the order of the files, with --bands"):
        read_scene_list(listed)


def test_several_files_may_be_a_pattern_and_patterns_absolute(listed: Path) -> None:
    folder = listed.parent
    listed.write_text(LIST.replace("scenes/*.tif", f"{folder}/scenes/*.tif"))
    assert read_scene_list(listed).region_names == ("north", "south")
    tiles = LIST.replace('"scenes/*.tif"', '["scenes/*.tif"]')
    listed.write_text(tiles.replace("[[bands]]", 'place = "here"\n[[bands]]'))
    found = read_scene_list(listed)
    assert (found.region_names, found.regions[0].place) == (("north",), "here")


PRODUCTS = """
[[scenes]]
name = "field"
scene = ["{first}", "2024-07-01=packed/*.zip"]
mask = "SCL"
composite = "mean"
labels = "labels.gpkg"
[[bands]]
name = "B4"
wavelength = 665
[[bands]]
name = "B8"
wavelength = 833
[patches]
size = 8
"""


@pytest.fixture
def products(tmp_path: Path) -> tuple[Path, list[Path]]:
    """A list of one scene: products of two dates, with clouds on the left of the first, and dated points."""
    scl = np.full((24, 24), 4, np.uint8)
    scl[:, :12] = 9
    reds = {"2024-06-01": 0.1, "2024-06-11": 0.3}
    made = [
        write_safe(tmp_path / day, {"B04": np.full((48, 48), red)}, date=day, scl=scl if red < 0.2 else None)
        for day, red in reds.items()
    ]
    (tmp_path / "packed").mkdir()
    archive = pack(made[1], ".zip").rename(tmp_path / "packed/second.zip")
    grid = open_pictures([str(made[0])], PicturePlan(assets=("B04",)))[0].layers[0].info.grid
    places = shapely.points(*grid.to_map(np.array([10.5, 10.5, 40.5, 40.5]), np.array([10.5, 40.5, 10.5, 40.5])))
    frame = geopandas.GeoDataFrame({"class": ["a", "b", "a", "b"]}, geometry=places, crs=grid.crs)
    frame.to_file(tmp_path / "labels.gpkg")
    path = tmp_path / "list.toml"
    path.write_text(PRODUCTS.format(first=made[0].relative_to(tmp_path)))
    return path, [made[0], archive]


def test_products_dates_and_clouds_are_those_of_a_map(products: tuple[Path, list[Path]]) -> None:
    path, (first, second) = products
    found = read_scene_list(path)
    assert found.region_names == ("field",)
    plan = PicturePlan(mask="SCL", composite="mean")
    pictures = open_pictures([str(first), f"2024-07-01={second}"], plan)
    scene = open_dates(pictures, "mean", [Band("B4", 665), Band("B8", 833)])
    rows_columns = [tuple(map(int, name.rsplit("/", 1)[1].split("_"))) for name in found.store.names]
    expected = [scene.read(Window(row, column, 8, 8))[0] for row, column in rows_columns]
    read = found.store.read(np.arange(len(expected)))
    np.testing.assert_array_equal(read, np.stack(expected))
    left = np.array([column + 8 <= 24 for _, column in rows_columns])
    np.testing.assert_allclose(read[left, ..., 0], 0.3, atol=1e-6)  # clouds on the first date
    np.testing.assert_allclose(read[~left, ..., 0], 0.2, atol=1e-6)


def test_dated_labels_train_on_their_own_date(products: tuple[Path, list[Path]]) -> None:
    path, _ = products
    frame = geopandas.read_file(path.with_name("labels.gpkg"))
    frame.assign(date=["2024-07-02", "2024-06-02"] * 2).to_file(path.with_name("labels.gpkg"))
    found = read_scene_list(path)
    right = [int(name.rsplit("_", 1)[1]) >= 32 for name in found.store.names]
    assert any(right)
    np.testing.assert_allclose(found.store.read(np.flatnonzero(right))[..., 0], 0.1, atol=1e-6)


def test_a_mask_file_lies_in_the_lists_folder(products: tuple[Path, list[Path]], tmp_path: Path) -> None:
    path, _ = products
    path.write_text(path.read_text().replace('mask = "SCL"', 'mask = "none/clouds.tif"'))
    with pytest.raises(DataNotFoundError, match=f"{tmp_path}/none/clouds.tif"):
        read_scene_list(path)
