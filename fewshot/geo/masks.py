"""Where the mask of a picture is: a band of it, a file beside it, or a raster of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

from fewshot.errors import RasterError
from fewshot.geo.codes import Codes, codes_of
from fewshot.geo.mosaic import Mask
from fewshot.geo.names import is_path, local_file, short_name
from fewshot.geo.rasters import RasterInfo


def is_named(mask: str) -> bool:
    """Whether a mask is meant by its name, not by that of a file."""
    return re.fullmatch(r"\w{1,99}", mask) is not None and not Path(mask).is_file()


def find_mask(name: str, source: str, info: RasterInfo, asked: Codes | None) -> Mask:
    """Find the mask of a picture: a band of it, or a file beside it whose name begins alike.

    Args:
        name: As `--mask` has it, such as "SCL".
        source: The picture, as GDAL takes it.
        info: Of the picture.
        asked: What is left out, where it is not what is usual.

    Raises:
        RasterError: if there is none.
        RecipeError: if what is left out is not known.
    """
    if number := band_named(name, info):
        return Mask(source, codes_of(name, asked), number)
    beside = min(_beside(name, source), default=None)
    if beside is None:
        raise RasterError(
            f"{source} has no mask {name}: none of its bands {', '.join(filter(None, info.names)) or '(without names)'}"
            f" is called so, and no file beside it, such as {short_name(source)}_{name}.tif. Name the file with --mask."
        )
    return Mask(str(beside[1]), codes_of(name, asked))


def band_named(name: str, info: RasterInfo) -> int | None:
    """Return the number of the band of that name, None if there is none."""
    places = [place for place, own in enumerate(info.names, start=1) if own.casefold() == name.casefold()]
    return places[0] if places else None


def _beside(name: str, source: str) -> Iterator[tuple[int, Path]]:
    """Yield the files near a picture that are called like a mask of it; those that share more of its name are less."""
    file = local_file(source)
    if file is None or not is_path(source):
        return
    # The bands of Sentinel-2 lie in a folder for each resolution.
    folder = file.parent.parent if file.parent.name in ("R10m", "R20m", "R60m") else file.parent
    files = folder.glob("*/*") if folder != file.parent else folder.iterdir()
    for path in files:
        found = re.search(rf"(?:^|[_.\-]){name}(?=[_.\-]|$)", path.stem, re.IGNORECASE)
        if found is None or path.suffix.lower() not in (".tif", ".tiff", ".jp2", ".img", ".vrt"):
            continue
        begin = path.stem[: found.start()]
        if file.stem.startswith(begin):
            yield -len(begin), path
