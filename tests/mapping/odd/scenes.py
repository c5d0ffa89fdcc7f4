"""Odd scenes: types, contents, formats, damage, places and names."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from rasterio import Affine

from tests.mapping.odd.kit import CORNER, Asked, Case, of_scene, of_values, pixels, sound, write_scene

CASES: dict[str, Case] = {}


def divided(dtype: str) -> Case:
    return of_values(lambda values: (values // 20).astype(dtype))


def filled(value: float) -> Case:
    return of_values(lambda values: np.full_like(values, value, np.float64))


def half_filled(value: float) -> Case:
    return of_values(lambda values: np.where(np.arange(24) < 12, value, values).astype(np.float32))


def one_band_filled(value: float) -> Case:
    return of_values(lambda values: np.stack([values[0], np.full(values[0].shape, value)]).astype(np.float32))


def resized(count: int, height: int, width: int) -> Case:
    return of_values(lambda values: np.resize(values, (count, height, width)))


for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"):
    CASES[f"type {dtype}"] = divided(dtype)
for dtype in ("complex64", "complex128", "complex_int16"):
    CASES[f"type {dtype}"] = of_values(lambda values: values.astype("complex64"), dtype=dtype)
for name, value in {
    **{"zeros": 0, "ones": 1, "the greatest": 65535, "not a number": np.nan, "infinite": np.inf},
    **{"minus infinite": -np.inf, "huge": 3e38, "tiny": 1e-40, "minus": -9999},
}.items():
    CASES[f"all {name}"] = filled(value)
    CASES[f"half {name}"] = half_filled(value)
    CASES[f"one band {name}"] = one_band_filled(value)
for nodata in (0, 65535, 500, float("nan"), -9999.0, 1e30):
    CASES[f"no data {nodata}"] = of_values(lambda values: values.astype(np.float32), nodata=nodata)
for height, width in ((1, 1), (1, 24), (24, 1), (2, 2), (3, 300), (24, 23)):
    CASES[f"{height}x{width} pixels"] = resized(2, height, width)
for count in (1, 2, 3, 4, 5, 40, 300):
    CASES[f"{count} bands"] = resized(count, 24, 24)
for names in (("", ""), ("B4", "B4"), ("nir", "nir"), ("NaN", "None"), ("é" * 500, "\n"), ("2024-01-01", "2024-02-01")):
    CASES[f"bands called {names[0][:12]!r}, {names[1]!r}"] = of_scene(names=names)
LAYOUTS: tuple[dict[str, Any], ...] = (
    {"tiled": True, "blockxsize": 16, "blockysize": 16},
    *({"compress": name} for name in ("deflate", "lzw", "zstd", "packbits", "lerc")),
    {"interleave": "band"},
    {"interleave": "pixel"},
    {"BIGTIFF": "YES"},
    {"nbits": 12},
    {"photometric": "RGB"},
    {"photometric": "MINISWHITE"},
    {"alpha": "yes"},
)
for layout in LAYOUTS:
    CASES[f"written with {layout}"] = of_scene(**layout)


def other_format(driver: str, ending: str, bands: int = 2, divide: int = 1) -> Case:
    """Return a case of a scene in another format."""

    def make(folder: Path) -> Asked:
        values = pixels(bands) // divide
        plain = write_scene(folder / "plain.tif", values.astype(np.uint8) if divide > 1 else values)
        rasterio.shutil.copy(plain, folder / f"scene{ending}", driver=driver)
        plain.unlink()
        return sound(folder, scenes=[folder / f"scene{ending}"])

    return make


for driver, ending, bands, divide in (
    *(("ENVI", ".img", 2, 1), ("HFA", ".img", 2, 1), ("netCDF", ".nc", 2, 1), ("Zarr", ".zarr", 2, 1)),
    *(("PNG", ".png", 3, 20), ("JPEG", ".jpg", 3, 20), ("GPKG", ".gpkg", 3, 20), ("JP2OpenJPEG", ".jp2", 2, 1)),
    *(("AAIGrid", ".asc", 1, 1), ("VRT", ".vrt", 2, 1), ("COG", ".tif", 2, 1), ("GIF", ".gif", 1, 20)),
    *(("BMP", ".bmp", 3, 20), ("PCIDSK", ".pix", 2, 1), ("XYZ", ".xyz", 1, 1), ("WEBP", ".webp", 3, 20)),
):
    CASES[f"format {driver}"] = other_format(driver, ending, bands, divide)


def damaged(damage: Callable[[bytes], bytes], **profile: Any) -> Case:
    """Return a case of a scene whose bytes are changed."""

    def make(folder: Path) -> Asked:
        path = write_scene(folder / "scene.tif", np.tile(pixels(), (1, 4, 4)), **profile)
        path.write_bytes(damage(path.read_bytes()))
        return sound(folder, scenes=[path])

    return make


def sliced(first: int | None, last: int | None, **profile: Any) -> Case:
    return damaged(lambda content: content[first:last], **profile)


def zeroed(last: int) -> Case:
    return damaged(lambda content: content[:-last] + bytes(last))


def replaced(by: bytes) -> Case:
    return damaged(lambda _: by)


def scattered(seed: int) -> Case:
    """Return a case of a scene some of whose bytes are others."""

    def scatter(content: bytes) -> bytes:
        changed = np.random.default_rng(seed).random(len(content)) < 0.002
        return np.where(changed, 255, np.frombuffer(content, np.uint8)).astype(np.uint8).tobytes()

    return damaged(scatter)


for kept in (0, 1, 4, 8, 100, 400, 2000, 9000):
    CASES[f"cut after {kept} bytes"] = sliced(None, kept)
for lost in (1, 2, 100, 1000):
    CASES[f"the last {lost} bytes lost"] = sliced(None, -lost)
    CASES[f"the last {lost} bytes of tiles lost"] = sliced(None, -lost, tiled=True, blockxsize=16, blockysize=16)
    CASES[f"the last {lost} bytes zero"] = zeroed(lost)
for name, content in {
    **{"text": b"hello\n" * 99, "html": b"<html>not found</html>", "zeros": bytes(5000), "a zip's head": b"PK\3\4" * 9},
    **{"json": b"{}", "a tiff's head": b"II*\0" + b"\xff" * 99, "xml": b"<VRTDataset/>", "csv": b"x,y,z\n1,2,3\n"},
}.items():
    CASES[f"is {name}"] = replaced(content)
for seed in range(12):
    CASES[f"bytes changed, {seed}"] = scattered(seed)


def special(make: Callable[[Path], Any]) -> Case:
    """Return a case of a scene that is no plain file."""
    return lambda folder: sound(folder, scenes=[make(folder)])


def packed(folder: Path) -> Path:
    """Write a scene that is packed by itself."""
    return made(folder / "x.tif.gz", lambda p: p.write_bytes(gzip.compress(write_scene(folder / "x.tif").read_bytes())))


def made(path: Path, do: Callable[[Path], Any]) -> Path:
    """Return a path after something was done with it."""
    do(path)
    return path


CASES |= {
    "no such file": special(lambda folder: folder / "none.tif"),
    "a folder": special(lambda folder: made(folder / "x.tif", Path.mkdir)),
    "a pipe": special(lambda folder: made(folder / "x.tif", os.mkfifo)),
    "a device": special(lambda folder: "/dev/null"),
    "a circle of links": special(lambda folder: made(folder / "x.tif", lambda path: path.symlink_to(path))),
    "a dead link": special(lambda folder: made(folder / "x.tif", lambda path: path.symlink_to("none"))),
    "an empty name": special(lambda folder: ""),
    "a point": special(lambda folder: "."),
    "packed": special(lambda folder: packed(folder)),
    "packed, by its name": special(lambda folder: f"/vsigzip/{packed(folder)}"),
    "an archive that is none": special(lambda folder: made(folder / "x.zip", lambda path: path.write_bytes(b"PK"))),
    "not in an archive": special(lambda folder: "/vsizip/none.zip/x.tif"),
    "an unknown driver": special(lambda folder: "WHAT:ever"),
    "nothing of a driver": special(lambda folder: "NETCDF:"),
    "an address without a host": special(lambda folder: "https://"),
    "an address of nobody": special(lambda folder: "http://127.0.0.1:9/x.tif"),
    "items of nobody": special(lambda folder: "http://127.0.0.1:9/items.json"),
    "a date without a name": special(lambda folder: "2024-06-01="),
    "a vrt of itself": special(
        lambda folder: made(
            folder / "x.vrt",
            lambda path: path.write_text(
                '<VRTDataset rasterXSize="9" rasterYSize="9"><SRS>EPSG:32633</SRS>'
                "<GeoTransform>0,1,0,0,0,-1</GeoTransform>"
                '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">x.vrt'
                "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
            ),
        )
    ),
}


def placed(transform: Affine, crs: Any = "EPSG:32633") -> Case:
    """Return a case of a scene that lies elsewhere; its labels do not."""
    return of_scene(transform=transform, crs=crs)


for name, numbers in {
    "no corner": (1, 0, 0, 0, 1, 0),
    "no pixels": (0, 0, CORNER[0], 0, 0, CORNER[1]),
    "one line": (10, 20, CORNER[0], 5, 10, CORNER[1]),
    "no width": (0, 0, CORNER[0], 0, -10, CORNER[1]),
    "no number": (float("nan"), 0, CORNER[0], 0, -10, CORNER[1]),
    "no end": (10, 0, float("inf"), 0, -10, CORNER[1]),
    "south up": (10, 0, CORNER[0], 0, 10, CORNER[1] - 240),
    "mirrored": (-10, 0, CORNER[0] + 240, 0, -10, CORNER[1]),
    "turned": (7, 7, CORNER[0], 7, -7, CORNER[1]),
    "sheared": (10, 3, CORNER[0], 0, -10, CORNER[1]),
    "huge pixels": (1e7, 0, CORNER[0], 0, -1e7, CORNER[1]),
    "tiny pixels": (1e-9, 0, CORNER[0], 0, -1e-9, CORNER[1]),
    "far away": (10, 0, 1e15, 0, -10, 1e15),
    "beyond all": (10, 0, 1e300, 0, -10, 1e300),
}.items():
    CASES[f"place: {name}"] = placed(Affine(*numbers))
for crs in (
    *(
        "EPSG:4326",
        "EPSG:3857",
        "EPSG:3035",
        "EPSG:4978",
        "EPSG:4979",
        "EPSG:3031",
        "EPSG:3413",
        "EPSG:2193",
        "EPSG:27700",
    ),
    *(
        "EPSG:2154",
        "EPSG:4269",
        "EPSG:3395",
        "EPSG:5514",
        "EPSG:2272",
        "EPSG:5773",
        "EPSG:9518",
        "EPSG:6933",
    ),
    *("ESRI:54009", "ESRI:102003", "OGC:CRS84", "EPSG:32733", "EPSG:4258", "EPSG:31370", "EPSG:21781", "EPSG:9377"),
    *("+proj=ob_tran +o_proj=longlat +o_lon_p=10 +o_lat_p=40 +lon_0=5", "+proj=geos +h=35785831 +lon_0=0"),
    *("+proj=sinu +R=6371007.181", "+proj=longlat +a=3396190 +b=3376200", "+proj=utm +zone=33 +units=us-ft"),
    'LOCAL_CS["site grid",UNIT["metre",1]]',
    'ENGCRS["site",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
):
    CASES[f"CRS {crs[:50]}"] = placed(Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), crs)
    if crs in ("EPSG:4326", "EPSG:4269", "OGC:CRS84", "EPSG:4258"):
        CASES[f"CRS {crs}, where the labels are"] = placed(Affine(1e-4, 0, 15.0, 0, -1e-4, 45.15), crs)
CASES["no CRS"] = placed(Affine(10, 0, CORNER[0], 0, -10, CORNER[1]), None)


def called(name: str) -> Case:
    """Return a case of a scene with an odd name, if a file can have it."""

    def make(folder: Path) -> Asked:
        plain = write_scene(folder / "plain.tif")
        path = Path(f"{folder}/{name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            plain.rename(path)
        except (OSError, ValueError):
            pass
        return sound(folder, scenes=[path])

    return make


for name in (
    *(
        "with space.tif",
        " lead.tif",
        "trail .tif",
        "ünï.tif",
        "場所.tif",
        "😀.tif",
        "a'b.tif",
        'a"b.tif',
        "a#b.tif",
        "a%20b.tif",
    ),
    *(
        "a?b.tif",
        "a*b.tif",
        "[a].tif",
        "a:b.tif",
        "a=b.tif",
        "2024-06-01=b.tif",
        "a\nb.tif",
        "a\tb.tif",
        "-lead.tif",
        "a,b.tif",
    ),
    *(
        "a;b.tif",
        "a|b.tif",
        "a\\b.tif",
        "$HOME.tif",
        "~.tif",
        "..tif",
        "UPPER.TIF",
        "noending",
        "x.json",
        "x.zip",
        "x.csv",
    ),
    *(
        "x" * 251 + ".tif",
        "x" * 252 + ".tif",
        "x" * 300 + ".tif",
        "a\x00b.tif",
        "\udcff.tif",
        "d" * 200 + "/" + "d" * 200 + ".tif",
    ),
    *(
        "x.SAFE",
        "x_MTL.txt",
        "MTD_MSIL2A.xml",
        "x.tar",
        "x.zarr",
        "a{b}.tif",
        "NETCDF:x.tif",
        "vrt:x.tif",
        "https:x.tif",
    ),
):
    CASES[f"called {name[:20]!r}, {len(name)}"] = called(name)
