"""Maps from Python in one call: of files, tables of features, arrays in memory; and reports that show themselves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil

import fewshot
from fewshot.errors import RecipeError
from fewshot.geo.writing import write_raster
from tests.mapping.conftest import Case, read
from tests.mapping.fakes import FakePredictor


class Array:
    """As rioxarray's arrays: it writes itself."""

    def __init__(self, path: Path, names: list[Any] = [1, 2]) -> None:  # noqa: B006
        self.coords = {"band": SimpleNamespace(values=np.array(names))}
        self.rio = SimpleNamespace(to_raster=self.write)
        self.path, self.options = path, dict[str, Any]()

    def write(self, path: Path, **options: Any) -> None:
        self.options = options
        with rasterio.open(self.path) as source, rasterio.open(path, "w", **source.profile) as target:
            target.write(source.read())  # without descriptions, as an array has none
            if self.coords["band"].values.dtype.kind in "iu":
                target.descriptions = source.descriptions


def test_files_tables_and_arrays_make_the_same_map(case: Case, tmp_path: Path) -> None:
    model = FakePredictor()
    first = fewshot.map_region(case.scene, case.labels, tmp_path / "files.tif", model=model, holdout=0.3, apart=4)
    table = geopandas.read_file(case.labels)
    array = Array(case.scene)
    fewshot.map_region(array, table, str(tmp_path / "memory.tif"), model=model, holdout=0.3, apart=4)
    assert np.array_equal(read(tmp_path / "files.tif"), read(tmp_path / "memory.tif"))
    assert array.options["windowed"] is True and array.options["blockxsize"] % 16 == 0
    assert first.accuracy is not None and first.files[-1] == tmp_path / "files.tif"
    # Bands that an array names by its coordinates are found by these names.
    named = Array(case.scene, ["B4", "B8"])
    fewshot.map_region(named, str(case.labels), tmp_path / "named.tif", model=model, holdout=0.3, apart=4)
    assert np.array_equal(read(tmp_path / "files.tif"), read(tmp_path / "named.tif"))


def test_a_plain_classifier_needs_no_model(case: Case, tmp_path: Path) -> None:
    kept = tmp_path / "mine.npz"
    settings: dict[str, Any] = {"method": "logistic", "applicable": True}
    fewshot.map_region(case.scene, case.labels, tmp_path / "may.tif", save_adapted=kept, **settings)
    report = fewshot.map_region(
        [case.scene], None, tmp_path / "june.tif", adapted=str(kept), validation=case.labels, **settings
    )
    assert report.reach is not None and report.accuracy is not None
    assert np.array_equal(read(tmp_path / "may.tif"), read(tmp_path / "june.tif"))


def test_clouds_are_left_out(case: Case, tmp_path: Path) -> None:
    codes = np.zeros(case.truth.shape, np.uint8)
    codes[40:60] = 9
    write_raster(tmp_path / "clouds.tif", codes, case.grid)
    mask, to = str(tmp_path / "clouds.tif"), tmp_path / "map.tif"
    fewshot.map_region(case.scene, case.labels, to, method="logistic", mask=mask, mask_out="9")
    assert np.all(read(tmp_path / "map.tif")[40:60] == 0)


def test_what_is_not_known_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no setting 'applicible'.*applicable"):
        fewshot.map_region(case.scene, case.labels, tmp_path / "map.tif", applicible=True)  # type: ignore[call-arg]
    with pytest.raises(RecipeError, match="resume maps of files only"):
        fewshot.map_region(Array(case.scene), case.labels, tmp_path / "map.tif", model=FakePredictor(), resume=True)


def test_a_report_shows_itself(case: Case, tmp_path: Path) -> None:
    report = fewshot.map_region(
        case.scene, case.labels, tmp_path / "a<b.tif", model=FakePredictor(), holdout=0.3, apart=4
    )
    shown = report._repr_html_()
    assert "a&lt;b.tif" in shown and "a<b" not in shown
    assert all(name in shown for name in ("forest", "town", "water", "User&#x27;s accuracy", "kept back"))
    assert shown.count("data:image/png;base64,") == 1
    assert report.accuracy is not None
    table = report.accuracy._repr_html_()
    assert table.count("<tr>") == 4 and "by area" in table
