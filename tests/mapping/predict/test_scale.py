"""A scene far larger than memory: it starts at once, and what is in memory does not grow with it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewshot.geo.grid import Grid
from tests.mapping.conftest import ROOT
from tests.mapping.fakes import draw_pixels, draw_points, draw_truth, grid_of, write_points, write_scene

SIDE, TILE = 100_000, 2000

CODE = """
import json, sys, time
from pathlib import Path
began = time.monotonic()
from benchmarks.mapping import peak_memory
from fewshot.errors import ArtifactError
from fewshot.mapping.support.examples import LabelPlan
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.region_map import map_scene
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
    map_scene(model, run_here(model), request, progress=stop)
except ArtifactError as error:
    assert "finished blocks are kept" in str(error), error
print(json.dumps({"first": times[1][0], "blocks": times[-1][1], "total": times[-1][2], "peak_mb": peak_memory()}))
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
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>{place}</GeoTransform>{bands}</VRTDataset>",
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


KILLED = """
import sys
from pathlib import Path
from fewshot.mapping.predict import layout
from fewshot.mapping.support.examples import LabelPlan
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.region_map import map_scene
from fewshot.mapping.request import MapRequest
from tests.mapping.fakes import FakePredictor

layout._GROUP_BYTES = 4 * 5 * 64 * 64
folder, to, resume = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "resume"
model = FakePredictor(seconds=0.03)
labels = LabelPlan(folder / "labels.gpkg")
windows = WindowPlan(size=32, overlap=8)
map_scene(
    model,
    run_here(model),
    MapRequest((str(folder / "scene.tif"),), to, labels, windows=windows, probabilities=True, resume=resume),
    progress=lambda done, total: print(done, flush=True),
)
"""


@pytest.mark.slow
def test_a_process_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    grid, truth = grid_of(400, 300), draw_truth(400, 300)
    write_scene(tmp_path / "scene.tif", draw_pixels(truth), grid)
    write_points(tmp_path / "labels.gpkg", grid, draw_points(truth, 8))

    def start(to: Path, resume: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(to), resume]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole" / "map.tif", "anew")
    lines, _ = whole.communicate()
    assert whole.returncode == 0
    total = int(lines.split()[-1])
    assert total > 30
    # At a block near the beginning, in the middle, and as the last one is written and put together.
    resume = "anew"
    for stop in (3, total // 2, total):
        killed = start(tmp_path / "killed" / "map.tif", resume)
        assert killed.stdout is not None
        for line in killed.stdout:
            if int(line) >= stop:
                killed.kill()
        killed.wait()
        resume = "resume"
        if stop < total:
            assert [path.name for path in (tmp_path / "killed").iterdir()] == [".map.tif.work"]
    if (tmp_path / "killed" / ".map.tif.work").exists():
        last = start(tmp_path / "killed" / "map.tif", resume)
        last.communicate()
        assert last.returncode == 0
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert names == {path.name for path in (tmp_path / "killed").iterdir()}
    for name in names:
        if name.endswith(".tif"):
            assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
