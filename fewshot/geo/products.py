"""What the names and tags of files say of the product that they are of: its sensor, and what its numbers are worth."""

import re
from collections.abc import Iterator, Mapping
from datetime import date as Date
from pathlib import Path

from fewshot.errors import RecipeError

_SENSORS = (
    (r"(?:^|[^a-z0-9])l[cotem]0?([4-9])(?:_|\d{6})|landsat[ _-]?0?([4-9])(?![0-9])", "landsat"),
    (r"hls\.l30", "landsat8"),
    (r"hls\.s30|sentinel[ _-]?2|(?:^|[^a-z0-9])s2[abc](?![a-z0-9])|(?:^|_)t\d\d[a-z]{3}_\d{8}t\d{6}", "sentinel2"),
    (r"(?:^|[^a-z0-9])m[oyc]d(?:09|43)[a-z]\d|sur_refl_b0", "modis"),
    (r"planetscope|_analyticms", "planetscope"),
    (r"(?:^|[^a-z0-9])m_\d{7}_[ns][ew]_|(?:^|[^a-z])naip(?![a-z])", "naip"),
)
"""Patterns of names and tags, and the sensor that each tells; a group is its number."""

_TELLS = re.compile(r"platform|satellite|spacecraft|sensor|mission|constellation|product", re.IGNORECASE)
_LANDSAT = re.compile(r"l[cotem]0\d_l2s[pr]_\d{6}_\d{8}_\d{8}_02_")
_SENTINEL = re.compile(r"s2[abc]_msil[12][ac]_.*_n(\d\d)\d\d_")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.:]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
_RECORDED = re.compile(r"acqui|sensing|start_?time|^datetime|time_?start", re.IGNORECASE)


def sensor_in(path: str | Path, tags: Mapping[str, str]) -> str:
    """Return the sensor that a file's name and tags tell; "" where they tell none, or several."""
    found = set()
    for text in _texts(path, tags):
        for pattern, name in _SENSORS:
            if match := re.search(pattern, text):
                found.add(name + next((group for group in match.groups() if group), ""))
    return found.pop() if len(found) == 1 else ""


def known_scaling(path: str | Path, tags: Mapping[str, str]) -> tuple[float, float] | None:
    """Return scale and offset from numbers to reflectance of products that have them without saying so in the file.

    Those are Landsat's collection 2, level 2, and Sentinel-2 since processing baseline 04.00 (January 2022).
    """
    texts = list(_texts(path, tags))
    if any(_LANDSAT.search(text) for text in texts) and "_st_" not in texts[0]:
        return 2.75e-5, -0.2
    baselines = [match[1] for text in texts if (match := _SENTINEL.search(text))]
    if sensor_in(path, tags) == "sentinel2":
        baselines += [text for key, text in tags.items() if key.upper() == "PROCESSING_BASELINE"]
    return (1e-4, -0.1) if any(re.match(r"0[4-9]", text) for text in baselines) else None


def _texts(path: str | Path, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield what may tell, in small letters: the file's name, those of Sentinel-2's folders, and some tags."""
    parts = str(path).lower().replace("\\", "/").split("/")
    yield parts[-1]
    yield from (part for part in parts[:-1] if ".safe" in part)
    yield from (text.lower() for key, text in tags.items() if _TELLS.search(key))


def date_in(text: str) -> str:
    """Return the first date in a text, such as "2024-06-01" of "S2A_MSIL2A_20240601T101031"; "" where there is none."""
    return next((date for found in _DATE.finditer(text) if _is_date(date := f"{found[1]}-{found[3]}-{found[4]}")), "")


def _is_date(text: str) -> bool:
    """Whether there is such a day: there is no 31 June."""
    try:
        Date.fromisoformat(text)
    except ValueError:
        return False
    return True


def recorded_in(path: str | Path, tags: Mapping[str, str]) -> str:
    """Return when a file was recorded, as its tags, or its name, say; "" where they do not."""
    said = [text for key, text in tags.items() if _RECORDED.search(key)]
    texts = [*said, str(path).rsplit("/", 1)[-1], tags.get("TIFFTAG_DATETIME", "")]
    return next(filter(None, map(date_in, texts)), "")


def split_date(source: str | Path) -> tuple[str, str]:
    """Return the date before a name, "2024-06-01=file.tif", and the name; "" where there is none.

    Raises:
        RecipeError: if what looks like a date is none.
    """
    before, equals, name = str(source).partition("=")
    if not (equals and re.fullmatch(r"\d{4}-?\d\d-?\d\d", before)):
        return "", str(source)
    if date := date_in(before):
        return date, name
    raise RecipeError(
        f"{before} of {source} is no date; expected one from 1900 to 2099 such as 2024-06-01=scene.tif. If it is part "
        f"of the file's name, write ./{source}"
    )
