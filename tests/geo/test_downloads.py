"""Products as they are downloaded: found, their bands by name, their numbers worth what they say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewshot.errors import DamagedDataError, FewshotError, RasterError
from fewshot.geo.bands import Band
from fewshot.geo.composing import PicturePlan
from fewshot.geo.composite import open_dates
from fewshot.geo.downloads import package
from fewshot.geo.downloads.finding import open_products
from fewshot.geo.pictures import open_pictures
from fewshot.geo.scene import Scene
from fewshot.geo.windows import Window
from tests.geo.published import pack, write_landsat, write_safe

SHAPE = (36, 48)


def drawn(*bands: str) -> dict[str, np.ndarray]:
    """Reflectance of some bands, without data in a corner."""
    rng = np.random.default_rng(1)
    found = {band: np.round(rng.uniform(0.01, 0.6, SHAPE), 4) for band in bands}
    for values in found.values():
        values[:6, :6] = np.nan
    return found


def opened(source: Path | str, *names: str, **plan: object) -> Scene:
    pictures = open_pictures([str(source)], PicturePlan(**plan))  # type: ignore[arg-type]
    return open_dates(pictures, "", [Band(name) for name in names])


def read(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene.read(Window(0, 0, scene.grid.height, scene.grid.width))


def itself(path: Path) -> Path:
    return path


@pytest.mark.parametrize("level", ["1C", "2A"])
@pytest.mark.parametrize("offset", [0, -1000])
@pytest.mark.parametrize(
    "named",
    [itself, lambda path: pack(path, ".zip"), lambda path: next(path.glob("MTD*.xml")), lambda path: path.parent],
    ids=["folder", "zip", "metadata", "folder around it"],
)
def test_sentinel2_as_downloaded(tmp_path: Path, level: str, offset: int, named: Callable[[Path], Path]) -> None:
    truth = drawn("B02", "B08", "B11")
    safe = write_safe(tmp_path / "downloads", truth, level=level, offset=offset)
    scene = opened(named(safe), "B2", "B8", "B11")
    assert (scene.grid.height, scene.grid.width, scene.grid.transform.a) == (*SHAPE, 10)
    values, valid = read(scene)
    assert np.array_equal(valid, ~np.isnan(truth["B02"]))
    coarse = truth["B11"][::2, ::2].repeat(2, 0).repeat(2, 1)
    for layer, expected in enumerate((truth["B02"], truth["B08"], coarse)):
        np.testing.assert_allclose(values[valid][:, layer], expected[valid], atol=1e-6)
    assert any(line == "B11: larger pixels, brought to 10 x 10 m by the nearest." for line in scene.lines())
    assert {own.source for own in scene.match.spectra} == {"sentinel2"}


def test_the_grid_is_the_finest_of_the_bands_that_are_read(tmp_path: Path) -> None:
    scene = opened(write_safe(tmp_path, drawn("B05")), "B5", "B12")
    assert (scene.grid.height, scene.grid.width, scene.grid.transform.a) == (18, 24, 20)
    assert len(scene.lines()) == 1
    values, valid = read(scene)
    np.testing.assert_allclose(values[..., 0][valid], drawn("B05")["B05"][::2, ::2][valid], atol=1e-6)


def test_bands_of_a_product_are_all_but_what_shows_no_ground(tmp_path: Path) -> None:
    (one,) = open_products(str(write_safe(tmp_path, drawn("B02"), level="1C"))) or []
    assert (one.date, len(one.bands)) == ("2024-06-01", 12) and "B10" not in one.bands
    assert (one.find("b2").name, one.find("B10").name) == ("B02", "B10")
    (two,) = open_products(str(write_safe(tmp_path, drawn("B02")))) or []
    assert set(two.assets) - set(two.bands) == {"SCL"}
    with pytest.raises(RasterError, match=r"has no B10; it has B01, B02"):
        two.find("B10")


def test_clouds_of_sentinel2_are_left_out(tmp_path: Path) -> None:
    scl = np.random.default_rng(0).integers(0, 12, (18, 24)).astype(np.uint8)
    truth = {"B02": np.full(SHAPE, 0.2)}
    safe = write_safe(tmp_path, truth, scl=scl)
    scene = opened(pack(safe, ".zip"), "B2", "B8", mask="SCL")
    clear = np.isin(scl, [2, 4, 5, 6, 7, 11]).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(read(scene)[1], clear)
    assert scene.lines()[-1].endswith(
        "left out are values 0, 1, 3, 8, 9, 10 (no data, saturated, cloud shadow, clouds, cirrus; snow stays)."
    )
    chosen = opened(safe, "B2", "B8", mask="scl", mask_out="11")
    assert np.array_equal(read(chosen)[1], (scl != 11).repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("level", ["L2SP", "L1TP"])
@pytest.mark.parametrize("named", [itself, lambda path: pack(path, ".tar")], ids=["folder", "tar"])
def test_landsat_as_downloaded(tmp_path: Path, level: str, named: Callable[[Path], Path]) -> None:
    truth = drawn("B2", "B5")
    scene = opened(named(write_landsat(tmp_path, truth, level=level)), "B5", "B2")
    values, valid = read(scene)
    assert np.array_equal(valid, ~np.isnan(truth["B2"]))
    for layer, band in enumerate(("B5", "B2")):
        np.testing.assert_allclose(values[valid][:, layer], truth[band][valid], atol=3e-5)
    assert [own.wavelength for own in scene.match.spectra][:2] == [443, 482]


def test_clouds_of_landsat_are_left_out(tmp_path: Path) -> None:
    qa = np.full(SHAPE, 21824, np.uint16)
    qa[3, 4], qa[5, :], qa[20:, 30:] = 22280, 23888, 1
    scene = opened(write_landsat(tmp_path, drawn("B2"), qa=qa), "B2", mask="QA_PIXEL")
    assert np.array_equal(read(scene)[1], (qa == 21824) & ~np.isnan(drawn("B2")["B2"]))


def test_a_finer_band_is_read_if_it_is_named(tmp_path: Path) -> None:
    folder = write_landsat(tmp_path, drawn("B2"), level="L1TP")
    assert opened(folder, "B8", assets=("B8", "B2")).grid.transform.a == 15
    scene = opened(folder, "B8", "B2", assets=("B8", "B2"))
    assert (scene.grid.transform.a, scene.grid.height) == (15, 72)
    assert read(scene)[0].shape == (72, 96, 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda safe: next(safe.glob("MTD*")).write_text("<a>"), "MTD_MSIL2A.xml of .* cannot be read"),
        (
            lambda safe: next(safe.glob("MTD*")).write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
            "MTD_MSIL2A.xml of .* cannot be read: expected no <!DOCTYPE a>",
        ),
        (lambda safe: next(safe.glob("MTD*")).unlink(), "is a folder without the file that describes a product"),
        (lambda safe: [path.unlink() for path in safe.rglob("*.jp2")], "has no image in GRANULE"),
        (lambda safe: [path.write_bytes(b"") for path in safe.rglob("*_B02_10m.jp2")], "cannot be read as a raster"),
        (
            lambda safe: next(safe.glob("MTD*")).write_text(
                next(safe.glob("MTD*")).read_text().replace('"none">10000<', '"none">many<')
            ),
            "scale in a Sentinel-2 product's metadata is not understood",
        ),
    ],
    ids=["metadata", "entities", "no metadata", "no images", "an empty image", "no number"],
)
def test_what_is_damaged_is_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    safe = write_safe(tmp_path, drawn("B02"))
    damage(safe)
    with pytest.raises(FewshotError, match=message):
        opened(safe, "B2", "B8")


def test_archives_that_are_cut_short_are_named(tmp_path: Path) -> None:
    tar = pack(write_landsat(tmp_path, drawn("B2")), ".tar")
    with tar.open("r+b") as file:
        file.truncate(tar.stat().st_size // 2)
    with pytest.raises(FewshotError, match=r"\.tar"):
        opened(tar, "B2", "B5")


def test_a_product_that_lacks_a_named_file_says_so(tmp_path: Path) -> None:
    folder = write_landsat(tmp_path, drawn("B2"))
    for path in folder.glob("*.TIF"):
        path.unlink()
    with pytest.raises(DamagedDataError, match="has none of the files that .*_MTL.txt names"):
        opened(folder, "B2")


def test_of_several_landsat_products_the_named_one_is_read_or_all(tmp_path: Path) -> None:
    """Their files lie in one folder, as people unpack archives."""
    folder, marks = tmp_path / "all", []
    folder.mkdir()
    for date in ("2024-06-01", "2024-06-17"):
        for path in write_landsat(tmp_path, drawn("B2"), date=date).iterdir():
            path.rename(folder / path.name)
            marks += [folder / path.name] if path.name.endswith("_MTL.txt") else []
    assert [one.date for one in open_products(str(folder)) or ()] == ["2024-06-01", "2024-06-17"]
    for mark, date in zip(marks, ("2024-06-01", "2024-06-17"), strict=True):
        (one,) = open_products(str(mark)) or []
        assert one.date == date and f"_{date.replace('-', '')}_" in one.find("B2").source
        assert one.name == mark.name.removesuffix("_MTL.txt") and set(one.assets) >= {"B1", "B7", "ST_B10", "QA_PIXEL"}


def test_of_several_sentinel2_products_in_an_archive_each_is_read_by_its_own_scale(tmp_path: Path) -> None:
    for date, offset in (("2021-06-01", 0), ("2024-06-01", -1000)):
        write_safe(tmp_path / "both", drawn("B02"), date=date, offset=offset)
    found = open_products(str(pack(tmp_path / "both", ".zip"))) or ()
    assert [(one.date, one.find("B2").scaling) for one in found] == [
        ("2021-06-01", (1e-4, 0.0)),
        ("2024-06-01", (1e-4, -0.1)),
    ]
    assert all(f"MSIL2A_{one.date.replace('-', '')}" in one.find("B2").source for one in found)


def encrypt(archive: Path) -> None:
    """Set the bit of every file that says that it is encrypted."""
    content = bytearray(archive.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 4)
    archive.write_bytes(content)


def test_metadata_in_archives_that_cannot_be_unpacked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(write_safe(tmp_path, drawn("B02")), ".zip")
    with monkeypatch.context() as patch:
        patch.setattr(package, "_LARGEST", 100)
        with pytest.raises(DamagedDataError, match=r"MTD_MSIL2A.xml of .*\.zip has more than .*describes a product"):
            open_products(str(archive))
    encrypt(archive)
    with pytest.raises(DamagedDataError, match=r"MTD_MSIL2A.xml of .*\.zip cannot be read: .*unpack it and name the f"):
        open_products(str(archive))


def test_other_files_are_no_products(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "a.zip").write_bytes(b"PK")
    for name in (tmp_path / "notes.json", tmp_path / "a.zip", tmp_path / "no.tif", "NETCDF:x.nc:red", "x" * 300, "\0"):
        assert open_products(str(name)) is None
    with pytest.raises(RasterError, match="is a folder without"):
        opened(tmp_path, "B2")
