"""Any labelled patches in folders, or in a zip of them: one region a folder, one class a folder in it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from fewshot.data.bands import StoredBand
from fewshot.data.images import Archive, DamageLog, Decoded, OnDamaged, Pixels, decode_image
from fewshot.data.region import ArrayStore, Region, RegionSet
from fewshot.data.source import Source
from fewshot.errors import DataNotFoundError, RasterError, RecipeError
from fewshot.geo.rasters import read_image

_RASTERS, _PICTURES = {".tif", ".tiff"}, {".png", ".jpg", ".jpeg"}


@dataclass(frozen=True)
class ClassFolders(Source):
    """Folders of labelled patches.

    Attributes:
        size: Pixels of an image's side; 0 leaves images as they are.
        any_size: Images may differ in size before they are brought to one.
        scale: What one unit of a picture is worth, such as 1e-4 for reflectance x 10,000; 0 for 8-bit pictures, whose
            255 is 1.
    """

    name: ClassVar[str] = "class_folders"
    one_path: ClassVar[bool] = True

    size: int = 0
    any_size: bool = False
    scale: float = 0.0

    def read(self, paths: Sequence[Path]) -> RegionSet:
        """Read the folders.

        Raises:
            RecipeError: if images may have any size, but it is not said which they are brought to.
        """
        size, scale = self.size or None, self.scale or None
        if self.any_size and size is None:
            raise RecipeError("data.any_size = true: expected data.size too, to which all are brought")
        return read_class_folders(paths[0], size=size, scale=scale, any_size=self.any_size, on_damaged=self.on_damaged)

    def describe_bands(self, regions: RegionSet) -> tuple[StoredBand, ...]:
        """Return the bands by the usual names of one or three, by number else."""
        count = regions.store.shape[-1]
        names = {1: ("grey",), 3: ("red", "green", "blue")}.get(count) or [f"band {i + 1}" for i in range(count)]
        if self.scale:
            return tuple(StoredBand(name, scale=self.scale, unit="value x scale") for name in names)
        return tuple(StoredBand(name, scale=1 / 255, unit="brightness 0-1", stored="uint8, 0-255") for name in names)


def read_class_folders(
    root: Path,
    *,
    size: int | None = None,
    scale: float | None = None,
    any_size: bool = False,
    on_damaged: OnDamaged = "raise",
) -> RegionSet:
    """Read any labelled patches laid out as `<region>/<class>/<image>.{png,jpg,tif}`.

    Args:
        root: The folder of the regions, or a zip of it.
        size: Side to area-average the images to, in pixels; as they are if None.
        scale: What one stored unit is worth (1e-4 for Sentinel-2 reflectance x 10^4). May be left out for
            8-bit images only, whose range 0-255 becomes 0-1.
        any_size: Whether images may differ in size before they are brought to `size`.
        on_damaged: What to do with damaged images, images of another size, and empty classes.

    Returns:
        One region a folder, no fixed tasks; sources are unknown (-1).

    Raises:
        DataNotFoundError: if there is no image in that layout.
        DamagedDataError: if an image is damaged or of another size, or a class is empty, unless skipped.
        RasterError: if the images are not 8-bit and `scale` is not given.
    """
    log, decoded = DamageLog(on_damaged), Decoded()
    with Archive(Path(root)) as archive:
        members, empty = _labelled(archive)
        for folder in empty:
            log.report(f"{root}: class folder {folder} has no image (png, jpg or tif).")
        if not members:
            raise DataNotFoundError(f"no image <region>/<class>/<image>.png (or jpg, tif) in {root}")
        decode = functools.partial(_decode_any, size=size, any_size=any_size)
        decoded.add_all(archive, [(member, _tail(member)) for member in members], decode, log)
    names, pixels = decoded.stack(log)
    if scale is None and pixels.dtype != np.uint8:
        raise RasterError(
            f"the images of {root} are {pixels.dtype}, whose scale is not known; say what one unit is worth (data.scale"
            " of a recipe), such as 1e-4 for Sentinel-2 reflectance x 10^4, or 1 for reflectance 0-1"
        )
    store = ArrayStore(names, pixels, scale=1 / 255 if scale is None else scale)
    parts = [name.split("/") for name in names]
    regions = []
    for region in sorted({part[0] for part in parts}):
        images = np.array([i for i, part in enumerate(parts) if part[0] == region], np.int64)
        classes, labels = np.unique([parts[i][1] for i in images], return_inverse=True)
        unknown = np.full(len(images), -1, np.int64)
        regions.append(Region(region, tuple(classes.tolist()), images, labels.astype(np.int64), unknown))
    every = tuple(sorted({part[1] for part in parts}))
    return RegionSet(archive.stem, store, tuple(regions), every, skipped=tuple(log.skipped))


def _labelled(archive: Archive) -> tuple[list[str], list[str]]:
    """List the image members, and the class folders without any."""
    images, folders = [], set()
    for member in archive.members():
        path = PurePosixPath(member)
        if member.endswith("/"):
            if len(path.parts) == 2:
                folders.add(str(path))
        elif len(path.parts) >= 3 and path.suffix.lower() in _RASTERS | _PICTURES:
            images.append(member)
    return images, sorted(folders - {str(PurePosixPath(_tail(member)).parent) for member in images})


def _tail(member: str) -> str:
    """Return `<region>/<class>/<image>` of a member that may lie deeper."""
    return "/".join(PurePosixPath(member).parts[-3:])


def _decode_any(data: bytes, member: str, *, size: int | None, any_size: bool) -> tuple[Pixels, tuple[int, int]]:
    """Decode a raster or a picture by its ending; the size beside it is that which all must have."""
    raster = PurePosixPath(member).suffix.lower() in _RASTERS
    pixels, before = read_image(data, size=size) if raster else decode_image(data, size)
    return pixels, (pixels.shape[0], pixels.shape[1]) if any_size else before
