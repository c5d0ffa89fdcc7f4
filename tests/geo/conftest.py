"""Small grids on the Earth, and a server of files."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rasterio import Affine
from rasterio.crs import CRS

from fewshot.geo.grid import Grid


@pytest.fixture
def make_grid() -> Callable[..., Grid]:
    """Builds a grid in UTM zone 33 N, of 10 m pixels from (500000, 5000000) on, rotated if asked for."""

    def make(
        height: int = 20,
        width: int = 30,
        *,
        crs: str | None = "EPSG:32633",
        corner: tuple[float, float] = (500000, 5000000),
        pixel: tuple[float, float] = (10, 10),
        degrees: float = 0,
    ) -> Grid:
        angle = math.radians(degrees)
        across, down = (math.cos(angle), math.sin(angle)), (math.sin(angle), -math.cos(angle))
        transform = Affine(
            *(pixel[0] * across[0], pixel[1] * down[0], corner[0]),
            *(pixel[0] * across[1], pixel[1] * down[1], corner[1]),
        )
        return Grid(height, width, transform, CRS.from_string(crs) if crs else None)

    return make


SERVER = """
import re
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\\d+)-(\\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        part = content[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
"""Serves parts of files, as servers of rasters do; a process of its own, since GDAL lets no thread of Python run."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves the test's folder."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "20")
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()
