"""What the names and tags of bands say: where in the spectrum a band lies, and how wide it is."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PARTS = {
    **{"coastal": (390, 455, 20), "blue": (455, 515, 65), "green": (515, 595, 60), "yellow": (595, 622, 20)},
    **{"red": (622, 692, 50), "rededge": (692, 795, 20), "nir": (795, 905, 100), "nir09": (905, 1000, 30)},
    **{"swir12": (1100, 1300, 40), "cirrus": (1340, 1420, 30), "swir16": (1500, 1800, 120)},
    **{"swir22": (2000, 2450, 200), "thermal": (3000, 15000, 1000)},
}
"""Parts of the spectrum by what a band in them shows (names of STAC's extension for electro-optical data): the least
and the greatest centre, and a usual width, nm."""

_WORDS = (
    (r"coastal|aerosol|(ultra|deep) ?blue", 443, 20),
    (r"(?<!deep )(?<!ultra )\bblue", 485, 65),
    (r"\bgreen ?i\b", 531, 36),
    (r"\bgreen(?! ?i\b)", 560, 60),
    (r"\byellow", 610, 20),
    (r"(red ?edge|\bre) ?(1|071|b5)\b", 705, 15),
    (r"(red ?edge|\bre) ?(2|075|b6)\b", 740, 15),
    (r"(red ?edge|\bre) ?(3|078|b7)\b", 783, 20),
    (r"red ?edge( (?!\d)|$)", 710, 30),
    (r"\bred(?! ?edge)", 660, 50),
    (r"\bnir ?(08|a|narrow)\b|narrow (nir|near infra ?red)", 865, 20),
    (r"(?<!narrow )\b(nir ?1?|near infra ?red)(?! narrow| ?09)(?= |$)", 842, 100),
    (r"\bnir ?09\b|water ?vapou?r", 945, 20),
    (r"cirrus", 1375, 30),
    (r"(swir|short ?wave infra ?red|middle infra ?red) ?(1|16)\b", 1610, 120),
    (r"(swir|short ?wave infra ?red|middle infra ?red) ?(2|22)\b", 2200, 200),
    (r"thermal|temperature|\b(tir|lwir) ?\d*\b", 11000, 1000),
)
"""What people call bands: a pattern for words in small letters, the centre and the width that it stands for, nm."""

_UNITS = {"n": 1.0, "u": 1000.0, "µ": 1000.0, "μ": 1000.0, "m": 1000.0}
_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)[ _]?(nm|um|µm|μm|nanomet\w*|micromet\w*|microns?)(?![a-z])")
_AFTER_NUMBER = re.compile(r"^b(?:and)?[ _]?\d+a?[\s,:(_-]+(\d{3,4}(?:\.\d+)?)\)?$")  # "B4 835"
_NUMBERED = re.compile(r"(?:^|[^a-z])(?:b|band)[ _]?0*(\d{1,2}a?)(?![a-z0-9.])")
_KEYS = ("wavelengthnm", "wavelength", "wavelengthum", "centerwavelength", "centrewavelength", "centralwavelength")
_KEYS_OF_GDAL = (*_KEYS, "centralwavelengthum")  # rounded to thousandths, so that it is the last
_WIDTH_KEYS = ("fwhmnm", "fwhm", "fullwidthhalfmax", "bandwidth", "bandwidthnm", "fwhmum")


@dataclass(frozen=True)
class Spectrum:
    """Where a band of a file lies in the spectrum.

    Attributes:
        name: As the file, or the user, calls it.
        wavelength: Centre, in nm; None where nothing says it.
        width: Full width at half maximum, in nm.
        source: What says it: "tags", "name", or a sensor.
    """

    name: str = ""
    wavelength: float | None = None
    width: float | None = None
    source: str = ""


def part_of_spectrum(wavelength: float) -> str:
    """Return what part of the spectrum a wavelength in nm lies in, "" for none that has a name."""
    return next((name for name, (low, high, _) in _PARTS.items() if low <= wavelength < high), "")


def width_of(wavelength: float, width: float | None) -> float:
    """Return the width of a band, or a usual one of its part of the spectrum where it is not known, nm."""
    part = part_of_spectrum(wavelength)
    return width or float(_PARTS[part][2] if part else wavelength / 20)


def numbered(name: str) -> str:
    """Return the number that a band is called by, such as "B8A" of "NIR_B8A" or "band 08a"; "" where there is none."""
    found = _NUMBERED.search(name.lower())
    return f"B{found[1].upper()}" if found else ""


def read_name(name: str) -> Spectrum:
    """Return what a band's name says: "B4 835 nm", "0.665 um", "near infrared"; nothing where it says two things."""
    text = name.strip().lower()
    if found := _WITH_UNIT.search(text):
        return Spectrum(name, float(found[1]) * _UNITS[found[2][0]], None, "name")
    # Without a unit, 1980 to 2035 may as well be a year.
    if (found := _AFTER_NUMBER.search(text)) and 350 <= float(found[1]) < 2500 and not 1980 <= float(found[1]) <= 2035:
        return Spectrum(name, float(found[1]), None, "name")
    words = re.sub(r"[^a-z0-9]+", " ", text)
    said = [
        Spectrum(name, float(centre), float(width), "name")
        for pattern, centre, width in _WORDS
        if re.search(pattern, words)
    ]
    return said[0] if len(said) == 1 else Spectrum(name)


def read_tags(tags: Sequence[Mapping[str, str]], whole: Mapping[str, str]) -> tuple[Spectrum, ...]:
    """Return what the tags of a file say of each of its bands.

    Args:
        tags: Of each band, of all domains.
        whole: Of the file: STAC's `eo:bands` or `bands` as JSON, or ENVI's `wavelength` as a list.
    """
    listed = list(_listed(whole))
    if len(listed) != len(tags):
        listed = [{}] * len(tags)
    return tuple(_read_band({**more, **own}) for own, more in zip(tags, listed, strict=True))


def _listed(whole: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Yield what the tags of a whole file list of each of its bands."""
    for key in ("eo:bands", "eo", "bands"):
        try:  # GDAL takes a colon for the end of a key: eo:bands=[...] is "bands=[...]" of "eo"
            entries = json.loads(whole.get(key, "").removeprefix("bands="))
        except ValueError:
            continue
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            yield from ({name.removeprefix("eo:"): value for name, value in entry.items()} for entry in entries)
            return
    lists = {key: re.findall(r"[\d.]+", whole.get(key, "")) for key in ("wavelength", "fwhm")}
    for number, centre in enumerate(lists["wavelength"]):
        yield {"wavelength": centre, "fwhm": lists["fwhm"][number] if number < len(lists["fwhm"]) else ""}


def _read_band(tags: Mapping[str, Any]) -> Spectrum:
    """Return what the tags of one band say."""
    plain = {re.sub(r"[^a-z0-9]", "", key.lower()): str(value) for key, value in tags.items()}
    centre = next((found for key in _KEYS_OF_GDAL if (found := _number(plain.get(key, "")))), None)
    if centre is None:
        named = read_name(plain.get("commonname", ""))
        return Spectrum("", named.wavelength, named.width, "tags") if named.wavelength else Spectrum()
    width = next((found for key in _WIDTH_KEYS if (found := _number(plain.get(key, "")))), None)
    if centre < 30:  # micrometres
        centre, width = centre * 1000, width and width * 1000
    elif width is not None and width < 0.5:
        width *= 1000
    return Spectrum("", centre, width, "tags") if 300 <= centre <= 20000 else Spectrum()


def _number(text: str) -> float | None:
    """Return the number that a tag is, greater than 0, or None."""
    try:
        return max(0.0, float(text)) or None
    except ValueError:
        return None
