import re
from pathlib import Path

import numpy as np
import pytest

from fewshot.data.earth.files import write_earth
from fewshot.data.earth.region import name_region, simulate_region
from fewshot.data.earth.sensor import OPTICAL
from fewshot.errors import DamagedDataError, TaskError
from fewshot.geo.rasters import describe_raster, read_image

LAYOUT = re.compile(
    r"ROIs(1158|1868|1970|2017)_(spring|summer|fall|winter)/(s1|s2|lc)_(\d+)/ROIs\1_\2_\3_\4_p(\d+)\.tif"
)
BANDS = {"s1": ("VV", "VH"), "s2": OPTICAL, "lc": 4}
TYPES = {"s1": "float32", "s2": "uint16", "lc": "uint16"}


@pytest.fixture(scope="module")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earth")
    assert write_earth(folder, regions=4, seed=1, patches_per_region=2) == tuple(
        name_region(number, seed=1) for number in range(4)
    )
    return folder


def pixels(path: Path) -> np.ndarray:
    return read_image(path)[0]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_lie_as_sen12ms_lays_them(earth: Path) -> None:
    names = sorted(name for name in files(earth) if name != "README.txt")
    found = [LAYOUT.fullmatch(name) for name in names]
    assert all(found)
    parts = [match.groups() for match in found if match]
    assert len(parts) == 4 * 2 * 3
    assert len({(season, place) for _, season, _, place, _ in parts}) == 4
    assert {place for _, _, _, place, _ in parts} == {"1", "2", "3"}  # the fourth is the first in another season
    for name, (_, _, sensor, _, _) in zip(names, parts, strict=True):
        info = describe_raster(earth / name)
        assert (info.grid.height, info.grid.width) == (256, 256)
        assert info.dtype == TYPES[sensor]
        assert info.bands == 4 if sensor == "lc" else info.names == BANDS[sensor]
        assert info.grid.crs.is_projected and "UTM" in info.grid.crs.to_wkt()
        assert info.grid.transform.a == -info.grid.transform.e == 10


def test_every_file_and_the_folder_say_that_they_are_simulated(earth: Path) -> None:
    assert (earth / "README.txt").read_text().startswith("SIMULATED EARTH\n")
    for path in earth.rglob("*.tif"):
        assert b"SIMULATED by fewshot" in path.read_bytes()


def test_patches_are_windows_of_one_region_and_overlap_by_half(earth: Path) -> None:
    region = simulate_region(1, seed=1, size=384)
    for sensor, whole in (("s1", region.radar), ("s2", region.optical), ("lc", region.classes[..., np.newaxis])):
        assert whole is not None
        first, second = (next(earth.glob(f"ROIs*_{region.season}/{sensor}_2/*_p{patch}.tif")) for patch in (1, 2))
        np.testing.assert_array_equal(pixels(first)[..., : whole.shape[2]], whole[:256, :256])
        np.testing.assert_array_equal(pixels(second)[..., : whole.shape[2]], whole[:256, 128:])
        left, right = (describe_raster(path).grid.transform for path in (first, second))
        assert (right.c - left.c, right.f - left.f) == (1280, 0)
        assert (left.c, left.f) == (region.grid.transform[2], region.grid.transform[5])
    assert not pixels(first)[..., 1:].any()


def test_an_interrupted_run_goes_on_and_keeps_what_is_whole(earth: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_earth(tmp_path, regions=4, seed=1, patches_per_region=2, progress=stop)
    assert calls == [(1, 8), (2, 8), (3, 8)]
    (lost,) = tmp_path.glob("*/s2_1/*_p1.tif")
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    assert len(kept) == 8
    calls.clear()
    write_earth(tmp_path, regions=4, seed=1, patches_per_region=2, progress=lambda *call: calls.append(call))
    assert calls[0] == (2, 8) and calls[-1] == (8, 8)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert files(tmp_path) == files(earth)


def test_another_earth_is_not_mixed_in(earth: Path) -> None:
    before = files(earth)
    for seed, count in ((2, 2), (1, 3)):
        with pytest.raises(DamagedDataError, match=r"README.txt is not that of .* Name another folder"):
            write_earth(earth, regions=1, seed=seed, patches_per_region=count)
    with pytest.raises(TaskError, match="received 0 and 2"):
        write_earth(earth, regions=0, seed=1, patches_per_region=2)
    assert files(earth) == before
