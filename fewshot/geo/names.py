"""Names of files as GDAL takes them: paths, and addresses of servers and object stores."""

import re
from pathlib import Path

from fewshot.errors import DataNotFoundError

_STORES = {"http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}


def gdal_name(source: str | Path) -> str:
    """Return the name that GDAL opens a file by.

    An address such as https://host/scene.tif or s3://bucket/scene.tif is read from there, window by window. A `Path`
    makes one slash of the two; they are put back.
    """
    text = str(source)
    found = re.match(r"(?:/vsicurl/)?(https?|s3|gs|az):/{1,2}(.*)", text)
    return f"{_STORES[found[1]]}{found[2]}" if found else text


def require_file(source: str | Path, what: str) -> str:
    """Return the name that GDAL opens a file by.

    Args:
        source: A path or an address; whether there is anything at an address, only opening it tells.
        what: What the file is, for the message.

    Raises:
        DataNotFoundError: if it is a path and nothing is there.
    """
    name = gdal_name(source)
    if not name.startswith("/vsi") and not Path(name).exists():
        raise DataNotFoundError(f"there is no {what} {source}")
    return name
