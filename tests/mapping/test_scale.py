"""A scene far larger than memory: it starts at once, and what is in memory does not grow with it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewshot.geo.rasters import Grid
from tests.mapping.conftest import ROOT
from tests.mapping.fakes import draw_pixels, draw_truth, grid_of, write_points, write_scene

SIDE, TILE = 100_000, 2000

CODE = """
import json, resource, sys, time
from pathlib import Path
began = time.monotonic()
from fewshot.errors import ArtifactError
from fewshot.mapping.examples import LabelPlan
from fewshot.mapping.pipeline import run_here
from fewshot.mapping.region_map import map_region
from fewshot.mapping.request import MapRequest
from tests.mapping.fakes import FakePredictor

folder, times = Path(sys.argv[1]), []

def stop(done, total):
    times.append((time.monotonic() - began, done, total))
    if done == 12:
        raise ArtifactError("that is enough")

model = FakePredictor()
request = MapRequest((str(folder / "scene.vrt"),), folder / "map.tif", LabelPlan(folder / "labels.gpkg"))
try:
    map_region(model, run_here(model), request, progress=stop)
except ArtifactError as error:
    assert "finished blocks are kept" in str(error), error
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"first": times[1][0], "blocks": times[-1][1], "total": times[-1][2], "peak_mb": peak / 1024}))
"""


def write_large_scene(folder: Path) -> Grid:
    """A virtual scene that repeats one small file."""
    tile = grid_of(TILE, TILE)
    write_scene(folder / "tile.tif", draw_pixels(draw_truth(TILE, TILE)), tile)
    t = tile.transform
    sources = "".join(
        '<SimpleSource><SourceFilename relativeToVRT="1">tile.tif</SourceFilename><SourceBand>{band}</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{TILE}" ySize="{TILE}"/>'
        f'<DstRect xOff="{column}" yOff="{row}" xSize="{TILE}" ySize="{TILE}"/></SimpleSource>'
        for row in range(0, SIDE, TILE)
        for column in range(0, SIDE, TILE)
    )
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}"><Description>{name}</Description><NoDataValue>0</NoDataValue>'
        f"{sources.format(band=band)}</VRTRasterBand>"
        for band, name in ((1, "B4"), (2, "B8"))
    )
    place = f"{t.c}, {t.a}, {t.b}, {t.f}, {t.d}, {t.e}"
    (folder / "scene.vrt").write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32633</SRS><GeoTransform>{place}</GeoTransform>'
        f"{bands}</VRTDataset>",
        encoding="utf-8",
    )
    return Grid(SIDE, SIDE, t, tile.crs)


@pytest.mark.slow
def test_a_scene_of_ten_billion_pixels_starts_in_seconds_and_stays_small(tmp_path: Path) -> None:
    grid = write_large_scene(tmp_path)
    truth = draw_truth(TILE, TILE)
    rng = np.random.default_rng(0)
    places = rng.integers(0, SIDE, (40, 2))
    points = [(int(row), int(column), ("a", "b", "c")[truth[row % TILE, column % TILE]]) for row, column in places]
    write_points(tmp_path / "labels.gpkg", grid, points)
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["blocks"] >= 12 and found["total"] > 1000
    assert found["first"] < 60, found  # imports and a busy machine included
    assert found["peak_mb"] < 2000, found
