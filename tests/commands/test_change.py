"""`fewshot change` that makes the later map itself, by the model that made the earlier one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from cli import main
from fewshot.geo.writing import write_raster
from tests.mapping import fakes
from tests.mapping.conftest import Case, make_case, read

__all__ = ["make_case"]  # a fixture


def call(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def months(make_case: Callable[..., Case], tmp_path: Path) -> tuple[Case, Path]:
    """A labelled scene, and the same ground a month later: a square of it is town, and a corner like nothing before."""
    may = make_case(80, 80, each=10)
    truth = may.truth.copy()
    truth[30:50, 30:50] = 2
    pixels = fakes.draw_pixels(truth)
    pixels[:10, :10] = 9000
    return may, fakes.write_scene(tmp_path / "june.tif", pixels, may.grid)


def test_the_new_scene_is_mapped_and_compared_in_one_call(months: tuple[Case, Path], tmp_path: Path) -> None:
    may, june = months
    old, new, to, kept = (tmp_path / name for name in ("old.tif", "new.tif", "change.tif", "mine.npz"))
    how = ("--method", "logistic")
    call("map", "--scene", may.scene, "--labels", may.labels, "--to", old, *how, "--applicable", "--save-adapted", kept)
    codes = np.zeros(may.truth.shape, np.uint8)
    codes[60:70] = 9
    write_raster(tmp_path / "clouds.tif", codes, may.grid)
    mask = ("--mask", tmp_path / "clouds.tif", "--mask-out", "9")
    asked = ("change", old, new, "--adapted", kept, "--scene", june, "--to", to, *how, "--applicable", *mask)
    said = call(*asked)
    assert "Applicable on" in said and "hectares more are not compared" in said
    assert np.array_equal(read(new) == 0, codes == 9)
    inside = read(tmp_path / "new_applicable.tif")
    assert np.all(inside[:10, :10] == 0)
    with rasterio.open(to) as raster:
        codes, names = raster.read(1), {int(k[6:]): v for k, v in raster.tags().items() if k.startswith("CLASS_")}
    # What only the corner shows is no change; what became town is.
    assert {names[code] for code in np.unique(codes[:10, :10])} == {"unsure"}
    became = np.array([names[code].endswith("town") for code in codes[32:48, 32:48].ravel()])
    assert became.mean() > 0.9
    # Resumed, a map that is there is not made again.
    before = new.stat().st_mtime_ns
    assert "Shares of the map" not in call(*asked, "--resume") and new.stat().st_mtime_ns == before


def test_a_scene_needs_its_model(tmp_path: Path) -> None:
    words = ["change", "old.tif", "new.tif", "--scene", "june.tif", "--to", str(tmp_path / "change.tif")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and "give both" in result.output
