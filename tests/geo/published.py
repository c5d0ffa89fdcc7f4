"""Made-up products in the layout in which they are published, a few pixels each."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine

TEN, TWENTY, SIXTY = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12"), ("B01", "B09", "B10")
CORNER = (499980.0, 5600040.0)

_HEAD = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
 <n1:General_Info>
  <Product_Info>
   <PRODUCT_START_TIME>{date}T10:10:31.024Z</PRODUCT_START_TIME>
   <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
   <Datatake datatakeIdentifier="GS2A_20240601T101031_046732_N05.10">
    <SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
    <DATATAKE_SENSING_START>{date}T10:10:31.024Z</DATATAKE_SENSING_START>
   </Datatake>
  </Product_Info>
  <Product_Image_Characteristics>
   <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
   {quantification}
   {offsets}
   <Spectral_Information_List>{spectral}</Spectral_Information_List>
  </Product_Image_Characteristics>
 </n1:General_Info>
</n1:Level-{level}_User_Product>
"""
_PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")


def write_band(path: Path, pixels: np.ndarray, side: float, corner: tuple[float, float] = CORNER, **more: Any) -> None:
    """Write one band: a GeoTIFF, or JPEG 2000 without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": pixels.dtype.name}
    profile |= {"crs": "EPSG:32633", "transform": Affine(side, 0, corner[0], 0, -side, corner[1])} | more
    if path.suffix == ".jp2":
        profile |= {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(pixels, 1)


def write_safe(
    folder: Path,
    reflectance: Mapping[str, np.ndarray],
    *,
    level: str = "2A",
    date: str = "2024-06-01",
    offset: int = -1000,
    scl: np.ndarray | None = None,
    tile: str = "T33UUS",
) -> Path:
    """Write a product of Sentinel-2.

    Args:
        folder: It is made in.
        reflectance: Of each band on the grid of 10 m, whose sides are multiples of 6; coarser bands take every 2nd or
            6th pixel. A band that is not given is 0.1 everywhere; NaN is no data.
        level: "1C" or "2A".
        date: When it was recorded.
        offset: Added to numbers, as since baseline 04.00.
        scl: Scene classification on the grid of 20 m.
        tile: Its name.
    """
    stamp = date.replace("-", "") + "T101031"
    baseline = "05.10" if offset else "03.01"
    name = f"S2A_MSIL{level}_{stamp}_N{baseline.replace('.', '')}_R022_{tile}_{stamp}.SAFE"
    product = folder / name
    images = product / "GRANULE" / f"L{level}_{tile}_A046732_{stamp}" / "IMG_DATA"
    shape = next(iter(reflectance.values())).shape
    for sides, bands in ((10, TEN), (20, TWENTY), (60, SIXTY)):
        for band in bands:
            if level == "2A" and band == "B10":
                continue
            step = sides // 10
            values = reflectance.get(band, np.full(shape, 0.1))[::step, ::step]
            numbers = np.where(np.isnan(values), 0, np.round(np.nan_to_num(values) * 10000 - offset)).astype(np.uint16)
            where = images / f"R{sides}m" / f"{tile}_{stamp}_{band}_{sides}m.jp2"
            write_band(where if level == "2A" else images / f"{tile}_{stamp}_{band}.jp2", numbers, sides)
            if level == "2A" and sides == 10:  # level 2A repeats bands of 10 m at 20 m
                coarse = images / "R20m" / f"{tile}_{stamp}_{band}_20m.jp2"
                write_band(coarse, np.ascontiguousarray(numbers[::2, ::2]), 20)
    if level == "2A":
        scl = np.full((shape[0] // 2, shape[1] // 2), 4, np.uint8) if scl is None else scl
        write_band(images / "R20m" / f"{tile}_{stamp}_SCL_20m.jp2", scl, 20)
    kind = "BOA" if level == "2A" else "RADIO"
    value = "BOA_QUANTIFICATION_VALUE" if level == "2A" else "QUANTIFICATION_VALUE"
    offsets = "".join(f'<{kind}_ADD_OFFSET band_id="{n}">{offset}</{kind}_ADD_OFFSET>' for n in range(13))
    text = _HEAD.format(
        level=level,
        date=date,
        baseline=baseline,
        quantification=f'<{value} unit="none">10000</{value}>',
        offsets=f"<{kind}_ADD_OFFSET_VALUES_LIST>{offsets}</{kind}_ADD_OFFSET_VALUES_LIST>" if offset else "",
        spectral="".join(
            f'<Spectral_Information bandId="{n}" physicalBand="{band}"/>' for n, band in enumerate(_PHYSICAL)
        ),
    )
    (product / f"MTD_MSIL{level}.xml").write_text(text)
    return product


def pack(product: Path, ending: str) -> Path:
    """Put a product into an archive, .zip with its folder or .tar without it, as they are published."""
    archive = product.with_name(f"{product.name.removesuffix('.SAFE')}{ending}")
    files = sorted(path for path in product.rglob("*") if path.is_file())
    if ending == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.write(path, path.relative_to(product.parent).as_posix())
    else:
        with tarfile.open(archive, "w") as packed:
            for path in files:
                packed.add(path, path.relative_to(product).as_posix())
    return archive


_SR = {"scale": 2.75e-05, "offset": -0.2}
_TOA = {"scale": 2.0e-05, "offset": -0.1}
SUN = 30.0


def write_landsat(
    folder: Path,
    reflectance: Mapping[str, np.ndarray],
    *,
    level: str = "L2SP",
    date: str = "2024-06-01",
    qa: np.ndarray | None = None,
    corner: tuple[float, float] = (500085.0, 5600115.0),
) -> Path:
    """Write a product of Landsat 8, collection 2.

    Args:
        folder: It is made in.
        reflectance: Of each band, "B2" and so on; a band that is not given is 0.1 everywhere, NaN is no data.
        level: "L2SP", surface reflectance, or "L1TP", top of atmosphere.
        date: When it was recorded.
        qa: QA_PIXEL.
        corner: Upper left.
    """
    name = f"LC08_{level}_193024_{date.replace('-', '')}_20240610_02_T1"
    product, surface = folder / name, level == "L2SP"
    words = _SR if surface else _TOA
    shape = next(iter(reflectance.values())).shape
    bands = [f"B{n}" for n in (range(1, 8) if surface else range(1, 12))]
    files = {}
    for band in bands:
        values = reflectance.get(band, np.full(shape, 0.1)) * (1 if surface else np.sin(np.radians(SUN)))
        numbers = np.round((np.nan_to_num(values) - words["offset"]) / words["scale"])
        numbers = np.where(np.isnan(values), 0, numbers).astype(np.uint16)
        side = 15.0 if band == "B8" else 30.0
        if band == "B8":
            numbers = numbers.repeat(2, 0).repeat(2, 1)
        files[f"FILE_NAME_BAND_{band[1:]}"] = f"{name}_SR_{band}.TIF" if surface else f"{name}_{band}.TIF"
        begin = (corner[0] + 7.5, corner[1] - 7.5) if band == "B8" else corner
        write_band(product / files[f"FILE_NAME_BAND_{band[1:]}"], numbers, side, begin, nodata=0 if surface else None)
    if surface:
        files["FILE_NAME_BAND_ST_B10"] = f"{name}_ST_B10.TIF"
        write_band(product / files["FILE_NAME_BAND_ST_B10"], np.full(shape, 44000, np.uint16), 30.0, corner, nodata=0)
    files["FILE_NAME_QUALITY_L1_PIXEL"] = f"{name}_QA_PIXEL.TIF"
    qa = np.full(shape, 21824, np.uint16) if qa is None else qa
    write_band(product / files["FILE_NAME_QUALITY_L1_PIXEL"], qa, 30.0, corner, nodata=1)
    (product / f"{name}_MTL.txt").write_text(_mtl(name, level, date, files, bands))
    return product


def _mtl(name: str, level: str, date: str, files: Mapping[str, str], bands: list[str]) -> str:
    """The text that describes a product, with the groups and keys of the published ones."""

    def group(title: str, lines: Mapping[str, Any]) -> str:
        said = "".join(f"    {key} = {value}\n" for key, value in lines.items())
        return f"  GROUP = {title}\n{said}  END_GROUP = {title}\n"

    def scales(words: Mapping[str, float], of: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {f"REFLECTANCE_MULT_BAND_{band[1:]}": f"{words['scale']:.4E}" for band in of}
        return found | {f"REFLECTANCE_ADD_BAND_{band[1:]}": f"{words['offset']:.6f}" for band in of}

    quoted = {key: f'"{value}"' for key, value in files.items()}
    parts = [
        group("PRODUCT_CONTENTS", {"LANDSAT_PRODUCT_ID": f'"{name}"', "PROCESSING_LEVEL": f'"{level}"', **quoted}),
        group("IMAGE_ATTRIBUTES", {"SPACECRAFT_ID": '"LANDSAT_8"', "DATE_ACQUIRED": date, "SUN_ELEVATION": SUN}),
    ]
    if level == "L2SP":
        parts.append(group("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", scales(_SR, bands)))
        thermal = {"TEMPERATURE_MULT_BAND_ST_B10": 0.00341802, "TEMPERATURE_ADD_BAND_ST_B10": 149.0}
        parts.append(group("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", thermal))
    parts.append(group("LEVEL1_RADIOMETRIC_RESCALING", scales(_TOA, [f"B{n}" for n in range(1, 10)])))
    source = name.replace("L2SP", "L1TP")
    numbers = {f"FILE_NAME_BAND_{n}": f'"{source}_B{n}.TIF"' for n in range(1, 12)}
    record = {"LANDSAT_PRODUCT_ID": f'"{source}"', "PROCESSING_LEVEL": '"L1TP"', **numbers}
    record |= {"FILE_NAME_QUALITY_L1_PIXEL": f'"{source}_QA_PIXEL.TIF"'}
    if level == "L2SP":
        parts.append(group("LEVEL1_PROCESSING_RECORD", record))
    return "GROUP = LANDSAT_METADATA_FILE\n" + "".join(parts) + "END_GROUP = LANDSAT_METADATA_FILE\nEND\n"
