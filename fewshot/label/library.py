"""The map library that the page draws with: Leaflet, whose built files come in a package of their own."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from fewshot.errors import ArtifactError

_PACKAGE = "xstatic-leaflet"
_INSIDE = "xstatic/pkg/leaflet/data/"


def library_files() -> dict[str, Path]:
    """Return the library's files by the names under which the page asks for them ("leaflet/leaflet.css").

    Raises:
        ArtifactError: if the package is not installed.
    """
    try:
        packed = files(_PACKAGE) or []
    except PackageNotFoundError:
        packed = []
    found = {
        f"leaflet/{name.removeprefix(_INSIDE)}": Path(str(own.locate()))
        for own in packed
        if (name := own.as_posix()).startswith(_INSIDE)
    }
    if not found:
        raise ArtifactError(f"the page's map library is not installed: pip install {_PACKAGE}")
    return found
