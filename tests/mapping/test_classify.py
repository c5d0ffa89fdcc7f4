"""Pictures in folders: classes by folder, kind errors, kept models, drawings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image

from fewshot.errors import ArtifactError, DamagedDataError, DataNotFoundError, ManifestError, RecipeError
from fewshot.exported.card import ClassEntry
from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster
from fewshot.mapping.classify import PictureRequest, classify_pictures, draw_pictures, find_pictures, read_pictures
from tests.mapping.fakes import PATCH, PIXEL, FakePredictor, band

RGB = replace(PATCH, bands=tuple(band(name, 1 / 255, unit="0-1") for name in ("red", "green", "blue")))
COLOURS = {"field": (200, 180, 60), "lake": (20, 60, 180), "wood": (30, 110, 40)}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three classes of noisy colours, four pictures of 16x16 each to adapt to and two to ask about."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for number in range(6):
            path = tmp_path / ("support" if number < 4 else "query") / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(np.array(colour) + rng.normal(0, 15, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path


def test_pictures_are_classified_by_the_names_of_folders(folders: Path) -> None:
    report = classify_pictures(FakePredictor(RGB), PictureRequest(folders / "query", folders / "support"))
    assert report.names == ("field", "lake", "wood")
    assert [report.names[index] for index in report.chosen] == [path.parent.name for path in report.paths]
    assert report.accuracy == 1.0
    said = list(report.lines())
    assert said[0].startswith(f"{folders / 'query' / 'field' / '4.png'}: field (")
    assert "100.0 % of 6 pictures" in said[-1]
    plain = json.loads(json.dumps(report.plain()))
    assert plain["predictions"][0]["class"] == "field"
    assert sum(plain["predictions"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    drawn = draw_pictures(report, RGB, folders / "report" / "predictions.png")
    assert Image.open(drawn).width > 300


def test_colours_go_where_a_model_has_them_and_other_bands_are_missing(folders: Path) -> None:
    bands = tuple(replace(band(f"B{nm}"), wavelength=float(nm)) for nm in (443, 490, 560, 665, 865))
    path = folders / "query" / "lake" / "4.png"
    found = read_pictures([path], replace(RGB, bands=bands, missing_bands=True))
    np.testing.assert_array_equal(found[..., [3, 2, 1]], read_pictures([path], RGB))
    assert not found[..., [0, 4]].any()
    with pytest.raises(DamagedDataError, match="3 bands; the model reads 5"):
        read_pictures([path], replace(RGB, bands=bands))


def test_pictures_are_averaged_to_the_size_of_the_model(folders: Path) -> None:
    path = folders / "query" / "lake" / "4.png"
    found = read_pictures([path], RGB)
    pixels = np.asarray(Image.open(path)).astype(float)
    assert found.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(found[0], pixels.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3)), atol=1.01)


def test_rasters_of_any_bands_are_pictures_too(tmp_path: Path) -> None:
    for name, level in (("dark", 200), ("bright", 3000)):
        for number in range(3):
            pixels = np.full((8, 8, 2), level + 10 * number, np.uint16)
            write_raster(tmp_path / name / f"{number}.tif", pixels, Grid(8, 8, Affine.scale(10, -10), None))
    report = classify_pictures(FakePredictor(PATCH), PictureRequest(tmp_path, tmp_path))
    assert report.accuracy == 1.0


def test_an_adapted_model_is_kept_and_used_again(folders: Path) -> None:
    kept = folders / "kept" / "mine.npz"
    first = classify_pictures(
        FakePredictor(RGB), PictureRequest(folders / "query", folders / "support", save_adapted=kept)
    )
    again = classify_pictures(FakePredictor(RGB), PictureRequest(folders / "query" / "lake", adapted=kept))
    np.testing.assert_array_equal(again.probabilities, first.probabilities[2:4])
    assert again.names == first.names


def test_what_cannot_be_classified_says_why(folders: Path) -> None:
    query, support = folders / "query", folders / "support"
    with pytest.raises(RecipeError, match="--support or --adapted"):
        PictureRequest(query)
    with pytest.raises(ArtifactError, match="use it with `fewshot map`"):
        classify_pictures(FakePredictor(PIXEL), PictureRequest(query, support))
    with pytest.raises(DataNotFoundError, match="has 0 folders of pictures; expected one for each class"):
        classify_pictures(FakePredictor(RGB), PictureRequest(query, support / "lake"))
    with pytest.raises(DataNotFoundError, match="there is no folder"):
        classify_pictures(FakePredictor(RGB), PictureRequest(query, folders / "none"))
    fixed = replace(RGB, label_space="global", classes=(ClassEntry("lake"), ClassEntry("wood")))
    with pytest.raises(ManifestError, match=r"has folders field; the model knows lake, wood, and no others"):
        classify_pictures(FakePredictor(fixed), PictureRequest(query, support))
    (folders / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match="there is no picture"):
        find_pictures(folders / "empty")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("half.png", b"\x89PNG\r\n\x1a\n half", "cannot be read as a picture"),
        ("small.png", (4, 4, 3), "has 4x4 pixels; the model reads squares of 8 pixels"),
        ("wide.png", (16, 24, 3), "has 16x24 pixels; .* Cut it to a square first"),
        ("bands.tif", (8, 8, 2), "has 2 bands; the model reads 3: red, green, blue"),
    ],
)
def test_bad_pictures_are_named(tmp_path: Path, name: str, content: bytes | tuple[int, ...], words: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".tif":
        write_raster(path, np.zeros(content, np.uint8), Grid(8, 8, Affine.identity(), None))
    else:
        Image.fromarray(np.zeros(content, np.uint8)).save(path)
    with pytest.raises(DamagedDataError, match=f"{name} {words}"):
        read_pictures([path], RGB)
