"""What the card says of the data that a model was trained on: bands, classes, licence, and whether it is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.data.earth.files import write_earth
from fewshot.data.region import ArrayStore, RegionSet, RotatedStore
from fewshot.data.sources.scene_list import read_scene_list
from fewshot.data.sources.sen12ms import Cut, read_sen12ms
from fewshot.errors import ArtifactError
from fewshot.exported.card import Limits
from fewshot.geo.grid import Grid
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster
from fewshot.mapping.scene import open_scene
from fewshot.mapping.support.classes import find_classes, number_classes
from fewshot.training.recipe import read_recipe
from fewshot.training.run import Run
from serving.graph import description as module
from tests.data.trees import sen12ms_tree
from tests.exported.models import write_run


@pytest.mark.parametrize(
    ("source", "manifest", "names", "stored", "first"),
    [
        ("omniglot", "omniglot", ("grey",), "uint8, 0 black ink, 255 white paper", (-1 / 255, 1.0)),
        ("task_archives", "sen12ms-tasks", ("B4", "B3", "B2"), "uint8", (1 / 255, 0.0)),
        ("deepglobe", "deepglobe", ("red", "green", "blue"), "uint8", (1 / 255, 0.0)),
        ("synthetic", "", ("simulated 1", "simulated 2"), "float32, 0-1", (1.0, 0.0)),
    ],
)
def test_bands_are_described_by_their_source(
    source: str, manifest: str, names: tuple[str, ...], stored: str, first: tuple[float, float]
) -> None:
    recipe = read_recipe("demo", settings=[f'data.source="{source}"'])
    store = ArrayStore(["a"], np.zeros([1, 4, 4, len(names)], np.uint8))
    bands, value_type = module.describe_bands(recipe, RegionSet("x", store, (), (), manifest=manifest))
    assert tuple(band.name for band in bands) == names
    assert {band.stored for band in bands} == {stored}
    assert (bands[0].scale, bands[0].offset) == pytest.approx(first)
    assert value_type == ("uint8" if stored.startswith("uint8") else "float32")


@pytest.mark.parametrize(
    ("scale", "count", "names", "first", "value_type"),
    [
        (0.0, 1, ["grey"], (1 / 255, "brightness 0-1", "uint8, 0-255"), "uint8"),
        (0.0, 3, ["red", "green", "blue"], (1 / 255, "brightness 0-1", "uint8, 0-255"), "uint8"),
        (1e-4, 2, ["band 1", "band 2"], (1e-4, "value x scale", ""), "float32"),
    ],
)
def test_bands_of_ones_own_folders_have_the_recipes_scale(
    scale: float, count: int, names: list[str], first: tuple[float, str, str], value_type: str
) -> None:
    recipe = read_recipe("folders-patch", settings=[f"data.scale={scale}"])
    regions = RegionSet("mine/train", ArrayStore(["a"], np.zeros([1, 4, 4, count], np.uint8)), (), ())
    bands, found = module.describe_bands(recipe, regions)
    assert [band.name for band in bands] == names
    assert (bands[0].scale, bands[0].unit, bands[0].stored) == first
    assert found == value_type
    data = module.describe_data(recipe, regions)
    assert (data.name, data.licence) == ("mine", "not known to the program: that of your own data")


def test_bands_that_the_data_does_not_describe_are_refused() -> None:
    recipe = read_recipe("demo", settings=['data.source="task_archives"'])
    store = ArrayStore(["a"], np.zeros([1, 4, 4, 5], np.uint8))
    with pytest.raises(ArtifactError, match=r"reads 5 bands, but x describes 3 \(B4, B3, B2\)"):
        module.describe_bands(recipe, RegionSet("x", store, (), (), manifest="sen12ms-tasks"))


def test_classes_have_the_manifests_colours() -> None:
    store = ArrayStore(["a"], np.zeros([1, 4, 4, 3], np.uint8))
    regions = RegionSet("x", store, (), ("Forests", "My own class"), manifest="sen12ms-tasks")
    entries = module.describe_classes(read_recipe("sen12ms-tasks-4w2s"), regions)
    assert [(entry.name, entry.colour) for entry in entries] == [("Forests", "#009900"), ("My own class", None)]


@pytest.mark.parametrize("simulated", [True, False])
def test_a_tree_in_the_layout_of_sen12ms_is_called_what_it_is(simulated: bool, tmp_path: Path) -> None:
    if simulated:
        write_earth(tmp_path, regions=1, patches_per_region=1)
    else:
        sen12ms_tree(tmp_path, patches=1)
    recipe = read_recipe("synthetic-segmentation")
    regions = read_sen12ms(tmp_path, Cut(bands=("B4", "B8")))
    found = module.describe_data(recipe, regions)
    assert found.simulated == simulated
    assert found.name == ("Simulated Earth (SIMULATED)" if simulated else "SEN12MS")
    bands, value_type = module.describe_bands(recipe, regions)
    assert [(band.name, band.scale, band.unit, band.stored) for band in bands] == [
        ("B4", 1e-4, "reflectance", "uint16"),
        ("B8", 1e-4, "reflectance", "uint16"),
    ]
    assert value_type == "float32"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A list of two scenes of green and near infrared, with class rasters and a class table."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("hill", "valley")):
        classes = (2 * rng.integers(1, 3, (8, 8))).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        grid = Grid(64, 64, Affine(10, 0, 5e5 + 1e4 * number, 0, -10, 5e6), CRS.from_epsg(32633))
        pixels = classes[..., np.newaxis].astype(np.uint16) * np.array([300, 1000], np.uint16)
        write_raster(tmp_path / f"{name}.tif", pixels, grid, names=("green", "nir"), scale=2e-4)
        write_raster(tmp_path / f"{name}_classes.tif", classes, grid)
    (tmp_path / "classes.csv").write_text("id,name,colour,ignored\n2,Maize,,\n4,Wheat,#ffff00,\n")
    listed = "".join(
        f'[[scenes]]\nscene = "{name}.tif"\nlabels = "{name}_classes.tif"\n' for name in ("hill", "valley")
    )
    path = tmp_path / "fields.toml"
    bands = "".join(f'[[bands]]\nname = "{name}"\nnodata = 0\n' for name in ("green", "nir"))
    path.write_text(f'classes = "classes.csv"\n{listed}{bands}[patches]\nsize = 8\n')
    return path


def test_a_model_of_your_own_scenes_finds_their_bands_again(scenes: Path, tmp_path: Path) -> None:
    settings = [
        *('data.source="scenes"', 'data.split="regions"', 'data.train=["hill"]', 'data.validation=["valley"]'),
        *("data.test=[]", "tasks.ways=2", "network.blocks=2", "network.filters=4", 'tasks.labels="global"'),
        *('learner.head="fixed"', "learner.restrict=true"),
    ]
    run = Run.open(write_run(tmp_path / "run", settings, [scenes]))
    regions = run.parts()["train"]
    card = module.describe_run(run.recipe, regions, run.learner(regions), Limits(), None)
    assert [(band.name, band.scale, band.unit, band.stored) for band in card.bands] == [
        ("green", 2e-4, "reflectance", "uint16"),
        ("nir", 2e-4, "reflectance", "uint16"),
    ]
    assert [(entry.name, entry.colour, entry.ids) for entry in card.classes] == [
        ("Maize", None, (2,)),
        ("Wheat", "#ffff00", (4,)),
    ]
    # Numbers of label rasters mean what they meant in training, and so do those of the map.
    table = find_classes(card, tmp_path / "hill_classes.tif", field=None, table=None)
    assert table.indices(np.array([4, 2]), where="x").tolist() == [1, 0]
    assert number_classes(table) == (2, 4)
    assert (card.data.name, card.data.simulated) == ("fields", False)

    # Next month's scene has its bands in another order, and one more.
    grid = Grid(16, 16, Affine(10, 0, 5e5, 0, -10, 5e6), CRS.from_epsg(32633))
    pixels = np.full((16, 16, 3), (7, 1000, 300), np.uint16)
    write_raster(tmp_path / "next.tif", pixels, grid, names=("blue", "nir", "green"), scale=2e-4)
    scene = open_scene([tmp_path / "next.tif"], card)
    assert scene.match.numbers == (3, 2)
    assert scene.match.how == "description"
    # Nor has it data where the list of the training scenes says that there is none.
    pixels[3, 4] = 0
    write_raster(tmp_path / "hole.tif", pixels, grid, names=("blue", "nir", "green"), scale=2e-4)
    valid = open_scene([tmp_path / "hole.tif"], card).read(Window(0, 0, 16, 16))[1]
    assert np.argwhere(~valid).tolist() == [[3, 4]]


def test_turned_pictures_keep_the_names_of_their_bands(scenes: Path) -> None:
    store = RotatedStore(read_scene_list(scenes).store)
    assert [band.name for band in store.bands] == ["green", "nir"]
