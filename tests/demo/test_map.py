"""The demo's map: labelled points drawn from a simulated region, and what is written of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image

from fewshot.data.earth.region import simulate_region
from fewshot.demo import mapping as demo
from fewshot.geo.landcover import IGBP
from tests.mapping.fakes import PIXEL, FakePredictor, band


def test_points_are_drawn_of_every_class() -> None:
    region = simulate_region(demo.REGION, size=128, bands=("B4", "B3", "B2"), radar=False)
    classes = demo.simplified(region.classes)
    assert set(np.unique(classes)) <= set(range(1, len(IGBP.classes) + 1))
    rows, columns = demo.draw_points(classes, np.random.default_rng(0))
    drawn = classes[rows, columns]
    for value, count in zip(*np.unique(classes, return_counts=True), strict=True):
        assert np.count_nonzero(drawn == value) == min(demo.POINTS, count)
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == len(rows)


def test_a_simulated_region_is_mapped_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SIDE", 128)
    card = replace(PIXEL, bands=tuple(band(name) for name in ("B2", "B3", "B4", "B8")))
    report, picture = demo.demo_map(FakePredictor(card), tmp_path)
    points = geopandas.read_file(tmp_path / "map" / "labels.gpkg")
    with rasterio.open(tmp_path / "map" / "reference.tif") as reference, rasterio.open(report.files[-1]) as mapped:
        truth, found = reference.read(1), mapped.read(1)
        assert mapped.bounds == reference.bounds and mapped.crs == reference.crs == points.crs
        columns, rows = (~reference.transform) * (points.geometry.x.to_numpy(), points.geometry.y.to_numpy())
        rows, columns = np.floor(rows).astype(int), np.floor(columns).astype(int)
    names = [IGBP.classes[value - 1].name for value in truth[rows, columns]]
    assert names == points["class"].tolist()
    assert report.accuracy is not None
    # The points themselves do not count.
    others = np.ones(truth.shape, bool)
    others[rows, columns] = False
    assert report.accuracy.overall == pytest.approx(np.mean(truth[others] == found[others]))
    assert Image.open(picture).width > 800
