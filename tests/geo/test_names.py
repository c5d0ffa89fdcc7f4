"""Names of files: paths, and addresses that GDAL reads from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from fewshot.errors import DataNotFoundError, RasterError
from fewshot.geo.grid import Grid
from fewshot.geo.mosaic import MosaicReader, describe_mosaic
from fewshot.geo.names import gdal_name, require_file
from fewshot.geo.rasters import RasterReader, describe_raster
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("scenes/may.tif", "scenes/may.tif"),
        ("https://host/may.tif", "/vsicurl/https://host/may.tif"),
        (Path("https://host/may.tif"), "/vsicurl/https://host/may.tif"),
        (Path("/vsicurl/http://host:8000/may.tif"), "/vsicurl/http://host:8000/may.tif"),
        (Path("s3://bucket/may.tif"), "/vsis3/bucket/may.tif"),
        ("gs://bucket/may.tif", "/vsigs/bucket/may.tif"),
        ("/vsizip/all.zip/may.tif", "/vsizip/all.zip/may.tif"),
    ],
)
def test_names_are_those_that_gdal_takes(source: str | Path, name: str) -> None:
    assert gdal_name(source) == name


def test_a_path_must_be_there_and_an_address_need_not(tmp_path: Path) -> None:
    assert require_file("https://host/may.tif", "raster").startswith("/vsicurl/")
    with pytest.raises(DataNotFoundError, match="there is no raster .*may.tif"):
        require_file(tmp_path / "may.tif", "raster")


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
def address(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def test_a_raster_is_read_from_an_address(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "20")
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30, 1)
    write_raster(tmp_path / "may.tif", pixels, Grid(20, 30, Affine.scale(10, -10), "EPSG:32633"), names=("B4",))
    info, parts = describe_mosaic([f"{address}/may.tif"])
    assert info.names == ("B4",)
    window = Window(3, 4, 5, 6)
    for reader in (MosaicReader(parts), RasterReader()):
        found, valid = reader.read(info.path, window, bands=[1])
        np.testing.assert_array_equal(found, pixels[3:8, 4:10])
        assert valid.all()
    with pytest.raises(RasterError, match="cannot be read as a raster"):
        describe_raster(Path(f"{address}/june.tif"))
