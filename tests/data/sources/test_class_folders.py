from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from fewshot.data.sources.class_folders import read_class_folders
from fewshot.errors import DamagedDataError, DataNotFoundError, RasterError

Write = Callable[..., Path]


@pytest.fixture
def folders(tmp_path: Path, write_picture: Write) -> Path:
    for region in ("north", "south"):
        for value, kind in enumerate(("forest", "water")):
            for number in range(3):
                ending = "jpg" if number == 2 else "png"
                write_picture(tmp_path / "data" / region / kind / f"{number}.{ending}", (100 * value, 100, 100))
    return tmp_path / "data"


def test_class_folders(folders: Path) -> None:
    read = read_class_folders(folders)
    assert read.name == "data"
    assert read.classes == ("forest", "water")
    assert read.region_names == ("north", "south")
    assert read.store.shape == (8, 8, 3)
    for region in read.regions:
        for image, label in zip(region.images, region.labels, strict=True):
            assert read.store.names[image].startswith(f"{region.name}/{region.class_names[label]}/")
            assert read.store.read([image])[0, 0, 0, 0] == pytest.approx(100 * label / 255, abs=0.01)


def test_class_folders_in_a_zip(folders: Path, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "patches"), "zip", folders))
    assert read_class_folders(path).store.names == read_class_folders(folders).store.names


def test_class_folders_name_an_empty_class_and_a_damaged_image(folders: Path) -> None:
    (folders / "north/barren").mkdir()
    with pytest.raises(DamagedDataError, match="class folder north/barren has no image"):
        read_class_folders(folders)
    (folders / "south/water/1.png").write_bytes(b"no picture")
    read = read_class_folders(folders, on_damaged="skip")
    assert len(read.skipped) == 2
    assert len(read.store.names) == 11
    with pytest.raises(DataNotFoundError, match="no image <region>/<class>"):
        read_class_folders(folders / "north/barren")


def write_raster(path: Path, bands: np.ndarray, *, nodata: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count, rows, columns = bands.shape
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=rows, width=columns, dtype=bands.dtype, nodata=nodata
        ) as raster:
            raster.write(bands)


def test_class_folders_of_rasters_need_their_scale(tmp_path: Path) -> None:
    bands = np.arange(5 * 4 * 4, dtype=np.uint16).reshape(5, 4, 4) * 100
    bands[2, 0, 0] = 65535
    write_raster(tmp_path / "north/water/0.tif", bands, nodata=65535)
    with pytest.raises(RasterError, match="uint16.*data.scale.*1e-4"):
        read_class_folders(tmp_path)
    read = read_class_folders(tmp_path, scale=1e-4)
    expected = np.moveaxis(bands, 0, -1) * 1e-4
    expected[0, 0, 2] = 0
    np.testing.assert_allclose(read.store.read([0])[0], expected, rtol=1e-6)
    halved = read_class_folders(tmp_path, scale=1e-4, size=2).store.read([0])[0]
    assert halved.shape == (2, 2, 5)
    np.testing.assert_allclose(halved[1, 1], expected[2:, 2:].mean((0, 1)), rtol=1e-3)


def test_class_folders_read_nan_as_zero_and_name_a_broken_raster(tmp_path: Path) -> None:
    write_raster(tmp_path / "north/water/0.tif", np.full((1, 4, 4), np.nan, np.float32))
    assert read_class_folders(tmp_path, scale=1.0).store.read([0]).tolist() == np.zeros((1, 4, 4, 1)).tolist()
    (tmp_path / "north/water/1.tif").write_bytes(b"II*\0 not a raster")
    with pytest.raises(DamagedDataError, match="north/water/1.tif"):
        read_class_folders(tmp_path, scale=1.0)


def test_class_folders_refuse_pictures_among_rasters(folders: Path) -> None:
    write_raster(folders / "north/water/9.tif", np.zeros((3, 8, 8), np.float32))
    with pytest.raises(DamagedDataError, match="9.tif is 8x8 pixels of 3 float32 bands, expected .* 3 uint8 bands"):
        read_class_folders(folders)
