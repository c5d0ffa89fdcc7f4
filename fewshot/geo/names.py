"""Names as GDAL takes them: paths, addresses, files in archives, and names that begin with a driver's."""

import re
from pathlib import Path

from fewshot.errors import DataNotFoundError, RasterError

_STORES = {"http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_ARCHIVES = {".zip", ".kmz", ".tar", ".tgz", ".gz", ".7z", ".rar"}
_IN_ARCHIVE = re.compile(r"/vsi(?:zip|tar|gzip|7z|rar)/\{?")
_DRIVER = re.compile(r"\w\w+:")


def gdal_name(source: str | Path) -> str:
    """Return the name that GDAL opens a file by.

    An address such as https://host/scene.tif or s3://bucket/scene.tif is read from there, window by window, and
    zip+https://host/all.zip!scene.tif from an archive there. Names that GDAL has for itself stay as they are, such as
    /vsizip/all.zip/scene.tif or NETCDF:"scene.nc":red. A `Path` makes one slash of two; they are put back.
    """
    text = str(source)
    packed = re.fullmatch(r"(zip|tar|gzip)(\+\w+:|:/?)/{1,2}([^!]+)!?(.*)", text)
    if packed:
        kind, store, archive, inner = packed.groups()
        address = f"{store[1:]}//{archive}" if store[0] == "+" else archive
        text = f"/vsi{kind}/{gdal_name(address)}/{inner}".rstrip("/")
    found = re.match(r"(?:/vsicurl/)?(https?|s3|gs|az):/{1,2}(.*)", text)
    if found:
        return f"{_STORES[found[1]]}{found[2]}"
    text = re.sub(r"\b(https?|vrt):/(?!/)", r"\1://", text)
    place = _local_place(text)
    if place and (_IN_ARCHIVE.match(text) or text.startswith("vrt:")):
        file = text[slice(*place)]
        if not _exists(Path(file)) and _exists(Path(f"/{file}")):
            return f"{text[: place[0]]}/{text[place[0] :]}"
    return text


def local_file(source: str | Path) -> Path | None:
    """Return the file of this machine that a name leads to, such as the archive; None for an address and the like."""
    text = gdal_name(source)
    place = _local_place(text)
    return Path(text[slice(*place)]) if place else None


def is_path(source: str | Path) -> bool:
    """Whether a name is that of a file or folder and nothing else."""
    return local_file(source) == Path(source)


def is_folder(source: str | Path) -> bool:
    """Whether a name is that of a folder."""
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):  # no name that a file can have
        return False


def from_folder(source: str, folder: Path) -> str:
    """Return a name whose file, if it leads to one of this machine, is looked for from a folder."""
    text = gdal_name(source)
    place = _local_place(text)
    return f"{text[: place[0]]}{folder / text[slice(*place)]}{text[place[1] :]}" if place else text


def short_name(source: str | Path) -> str:
    """Return what a raster is called: its file without folder and ending, or the end of a name with a driver's."""
    last = str(source).rsplit("/", 1)[-1]
    plain = is_path(source) or not re.search(r'[":]', last)
    return Path(last).stem if plain else re.sub(r"\W+", "_", last).strip("_")


def require_file(source: str | Path, what: str) -> str:
    """Return the name that GDAL opens a file by.

    Args:
        source: A path, an address or another name; whether there is anything at an address, only opening it tells.
        what: What the file is, for the message.

    Raises:
        DataNotFoundError: if it leads to a file of this machine and nothing is there.
    """
    file = local_file(source)
    if file is not None and not _exists(file):
        raise DataNotFoundError(f"there is no {what} {source}" + ("" if is_path(source) else f": {file} is missing"))
    return gdal_name(source)


def require_no_pipe(source: str | Path) -> None:
    """Refuse what would be waited for without end.

    Raises:
        RasterError: if a name leads to a pipe or a device.
    """
    file = local_file(source)
    if file is not None and _exists(file) and not (file.is_file() or file.is_dir()):
        raise RasterError(f"{source} is no file, but a pipe or a device; write it to a file first, and name that")


def _exists(path: Path) -> bool:
    """Return whether there is a file; there is none of a name that no file can have."""
    try:
        return path.exists()
    except OSError:
        return False


def _local_place(text: str) -> tuple[int, int] | None:
    """Return where in a name of GDAL's the file of this machine begins and ends, None if it leads to none."""
    begin, end = 0, len(text)
    if archive := _IN_ARCHIVE.match(text):
        begin = archive.end()
        end = text.find("}") if archive[0].endswith("{") else begin + _archive_end(text[begin:])
    elif text.startswith(("/vsi", "<", "{")):
        return None
    elif text.startswith("vrt:"):
        begin, end = len(text) - len(text[4:].lstrip("/")), text.find("?") if "?" in text else end
        begin -= text.startswith("vrt:///")
    elif (driver := _DRIVER.match(text)) and not _exists(Path(text)):
        # The file is in quotes, or is the first part that has an ending.
        part = re.search(r'"([^"]+)"', text) or re.compile(r"([^:]+\.[^:=]+)").search(text, driver.end())
        if part is None or re.search(r"\b(https?|s3|gs|az|ftp):/", text[driver.end() :]):
            return None
        begin, end = part.span(1)
    else:
        return begin, end
    inner = _local_place(text[begin:end])
    return (begin + inner[0], begin + inner[1]) if inner else None


def _archive_end(text: str) -> int:
    """Return where the archive ends in the path of a file in it: at the first file, or what is called like one."""
    ends = [found.start() for found in re.finditer("/", text) if found.start()] + [len(text)]
    files = (end for end in ends if _exists(Path(text[:end])) and Path(text[:end]).is_file())
    called = (end for end in ends if Path(text[:end]).suffix.lower() in _ARCHIVES)
    return next(files, next(called, len(text)))
