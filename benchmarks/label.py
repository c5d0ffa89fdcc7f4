"""How long from a click to the new map on the page, beside the bare network; how fast are tiles; does memory grow?

Run it with `python benchmarks/label.py`, some five minutes on two cores, or `--help`. The server is a process of its
own, asked over HTTP as the page asks it.

    click     a label is sent; until the picture of the finer map has arrived, and until that of the coarse one has
    bare      the network alone, after each click, on the same labels and window: adapt and predict, all in memory
    tiles     of the last level in three bands, one after the other, beside rasterio reading the same windows; before
              them the first tile of a page just opened, and the whole scene, which has no overviews
    edits     a thousand labels, one by one: how long each takes to be on the disk, and the server's memory
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fewshot.exported import LocalPredictor, find_model  # noqa: E402
from fewshot.geo.grid import Grid  # noqa: E402
from fewshot.geo.windows import Window  # noqa: E402
from fewshot.geo.writing import write_raster  # noqa: E402
from fewshot.label.plan import LIVE_LABELS  # noqa: E402
from fewshot.mapping import LabelPlan, MapPreview, MapRequest  # noqa: E402

CLASSES = ("Water", "Forest", "Crops", "Town")
SPECTRA = np.array([[600, 500, 400, 300], [400, 600, 450, 3200], [900, 1200, 1300, 2600], [1600, 1700, 1900, 2300]])
MODEL = "earth-points"


def main() -> None:
    """Make a scene, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the scene")
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, truth = make_scene(Path(folder), options.side)
        figures = {
            "clicks": measure_clicks(scene, truth, Path(folder), options.clicks),
            "tiles": measure_tiles(scene, Path(folder), options.side, options.tiles),
            "edits": measure_edits(scene, Path(folder), options.edits),
        }
    for name, found in figures.items():
        print(name, *(f"  {key}: {value}" for key, value in found.items()), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def make_scene(folder: Path, side: int) -> tuple[Path, np.ndarray]:
    """Write four classes in patches of 24 pixels, with noise; no overviews."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, len(CLASSES), (-(-side // 24), -(-side // 24)))
    truth = cells.repeat(24, 0).repeat(24, 1)[:side, :side]
    pixels = np.clip(SPECTRA[truth] + rng.normal(0, 150, (side, side, 4)), 1, None).astype(np.uint16)
    grid = Grid(side, side, rasterio.Affine(10, 0, 500000, 0, -10, 5300000), rasterio.CRS.from_epsg(32633))
    write_raster(folder / "scene.tif", pixels, grid, names=("B2", "B3", "B4", "B8"), nodata=0)
    return folder / "scene.tif", truth


class Page:
    """What a page asks of its server."""

    def __init__(self, address: str, process: int) -> None:
        """Come in by the printed address."""
        origin = address.split("/?")[0]
        self.process = process
        self.client = httpx.Client(base_url=origin, headers={"Origin": origin}, timeout=60, follow_redirects=True)
        self.client.get(address)

    def post(self, path: str, content: Any) -> None:
        """Send something."""
        self.client.post(path, json=content).raise_for_status()

    def label(self, edits: Sequence[dict[str, Any]]) -> None:
        """Do a step."""
        self.post("/api/edits", {"edits": edits})

    def memory(self) -> float:
        """Return the server's memory, MB."""
        status = Path(f"/proc/{self.process}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def pictures(self, events: Iterator[str]) -> Iterator[tuple[str, float]]:
        """Yield the stages of the map, each with the time when its picture has arrived."""
        for line in events:
            event = json.loads(line[6:]) if line.startswith("data: ") else {}
            if event.get("type") == "map" and event["stage"] != "failed":
                self.client.get(f"/live/{event['generation']}/{event['stage']}/map.png").raise_for_status()
                yield event["stage"], time.perf_counter()


@contextlib.contextmanager
def served(scene: Path, project: Path, *arguments: str) -> Iterator[Page]:
    """Serve the page, and end the server."""
    command = [sys.executable, str(ROOT / "cli.py"), "label", str(scene), "--project", str(project), "--no-browser"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise SystemExit("the server says nothing")
        yield Page(server.stdout.readline().split()[-1], server.pid)
        server.terminate()


def add_classes() -> list[dict[str, Any]]:
    """Return the edits that make the classes."""
    return [{"op": "add_class", "id": f"c{number}", "name": name} for number, name in enumerate(CLASSES)]


def add_label(number: int, truth: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return the edit that labels a random place near the window that is looked at, as it is."""
    row, column = rng.integers(0, min(1024, len(truth)), 2).tolist()
    of, place = f"c{truth[row, column]}", [column + 0.5, row + 0.5]
    return {"op": "add_label", "id": f"l{number}", "class": of, "kind": "point", "coordinates": place}


def measure_clicks(scene: Path, truth: np.ndarray, folder: Path, clicks: int) -> dict[str, Any]:
    """Measure from click to picture, and the bare network after each."""
    rng, window = np.random.default_rng(1), Window(256, 256, 512, 512)
    project, predictor = folder / "clicks", LocalPredictor(find_model(MODEL))
    kept: dict[str, list[float]] = {"coarse": [], "fine": [], "bare": []}
    with served(scene, project, "--model", MODEL) as page, page.client.stream("GET", "/api/events") as heard:
        shown = page.pictures(heard.iter_lines())
        page.post("/api/view", {"window": [256, 256, 768, 768]})
        page.label([*add_classes(), *(add_label(number, truth, rng) for number in range(12))])
        until(shown, "fine")  # the first ones wait for the model
        for number in range(12, 12 + clicks):
            began = time.perf_counter()
            page.label([add_label(number, truth, rng)])
            for stage in ("coarse", "fine"):
                kept[stage].append(until(shown, stage) - began)
            kept["bare"].append(bare(predictor, scene, project / "live", window))
    ratios = np.array(kept["fine"]) / np.array(kept["bare"])
    return {
        **{f"{name}, s": quantiles(found) for name, found in kept.items()},
        "fine to bare": quantiles(ratios[1:]),
        "labels": f"12 to {12 + clicks}",
    }


def until(shown: Iterator[tuple[str, float]], wanted: str) -> float:
    """Return when the picture of a stage has arrived."""
    return next(when for stage, when in shown if stage == wanted)


def bare(predictor: LocalPredictor, scene: Path, folder: Path, window: Window) -> float:
    """Return how long the network alone takes for labels that are read already, and for the window."""
    labels = LabelPlan(folder / LIVE_LABELS, "class")
    request = MapRequest((str(scene),), folder / "map.tif", labels, classes=folder / "classes.csv", method="adapted")
    preview = MapPreview(predictor, request)
    support = preview.read_labels().support
    pixels, _ = preview.scene.read(window)
    pictures = pixels.reshape(2, 256, 2, 256, -1).swapaxes(1, 2).reshape(4, 256, 256, -1)
    began = time.perf_counter()
    adapted = predictor.adapt(support.x, support.y, steps=preview.card.steps)
    for picture in pictures:
        predictor.predict(adapted, picture[np.newaxis])
    return time.perf_counter() - began


def measure_tiles(scene: Path, folder: Path, side: int, tiles: int) -> dict[str, Any]:
    """Measure tiles a second, and windows a second that rasterio reads."""
    rng = np.random.default_rng(2)
    places = rng.integers(0, side // 256, (tiles, 2)).tolist()
    query = {"bands": "3,2,1", "low": "0,0,0", "high": "3000,3000,3000"}
    with served(scene, folder / "tiles") as page:
        opened = time.perf_counter()
        level = page.client.get("/api/project").json()["scene"]["levels"] - 1
        page.client.get(f"/tiles/scene/{min(2, level)}/0/0.png", params=query).raise_for_status()
        first = time.perf_counter() - opened
        page.client.get("/tiles/scene/0/0/0.png", params=query).raise_for_status()
        all_of_it = time.perf_counter() - opened
        began = time.perf_counter()
        for column, row in places:
            page.client.get(f"/tiles/scene/{level}/{column}/{row}.png", params=query).raise_for_status()
        over_http = tiles / (time.perf_counter() - began)
        began = time.perf_counter()
        page.client.get("/tiles/scene/0/0/0.png", params=query).raise_for_status()
        whole = time.perf_counter() - began
    with rasterio.open(scene) as raster:
        began = time.perf_counter()
        for column, row in places:
            raster.read((3, 2, 1), window=RasterioWindow(column * 256, row * 256, 256, 256))
        alone = tiles / (time.perf_counter() - began)
    return {
        "tiles a second": round(over_http, 1),
        "rasterio, a second": round(alone, 1),
        "first tile of a page, s": round(first, 3),
        "whole scene at first, s": round(all_of_it, 3),
        "whole scene again, s": round(whole, 3),
    }


def measure_edits(scene: Path, folder: Path, edits: int) -> dict[str, Any]:
    """Measure how long an edit takes, and the memory as they become many."""
    rng, seconds, memory = np.random.default_rng(3), [], []
    truth = np.zeros((1024, 1024), np.int64)
    with served(scene, folder / "edits") as page:
        page.label(add_classes())
        for number in range(edits):
            if number in (edits // 10, edits // 2):
                memory.append(page.memory())
            began = time.perf_counter()
            page.label([add_label(number, truth, rng)])
            seconds.append(time.perf_counter() - began)
        memory.append(page.memory())
    tenth = max(edits // 10, 1)
    return {
        "first tenth, s": quantiles(seconds[:tenth]),
        "last tenth, s": quantiles(seconds[-tenth:]),
        "memory after a tenth, a half and all, MB": [round(found, 1) for found in memory],
    }


def quantiles(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Return the middle and the slow end."""
    middle, slow = np.quantile(values, (0.5, 0.95)).tolist()
    return {"p50": round(middle, 4), "p95": round(slow, 4)}


if __name__ == "__main__":
    main()
