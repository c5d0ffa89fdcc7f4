"""Which of a scene's bands are the wanted ones: by name, by wavelength and width, or by the user's list."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NoReturn

from fewshot.errors import RasterError
from fewshot.geo.bands import Band, BandMatch
from fewshot.geo.rasters import RasterInfo
from fewshot.geo.sensors import SENSORS, Sensor, find_sensor
from fewshot.geo.spectrum import Spectrum, numbered, part_of_spectrum, read_name, width_of

By = Literal["name", "wavelength"]
HYPERSPECTRAL = 30
"""Different wavelengths from which on a scene's bands are averaged to the wanted ones."""

_WIDEST = 150
"""Nm: what is wider, of visible light and near infrared, is panchromatic and no colour."""

_DATE = re.compile(r"(?<!\d)(19|20)\d\d([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
_SAME = 0.5  # nm: bands that are no further apart are one


def match_bands(  # noqa: PLR0913  each may be left out
    wanted: Sequence[Band],
    info: RasterInfo,
    *,
    chosen: Sequence[str | int] | None = None,
    missing: Literal["refuse", "allow"] = "refuse",
    sensor: str = "",
    by: By = "name",
) -> BandMatch:
    """Find the wanted bands in a file.

    By their names ("B2", "B02" and "b2, 490 nm" are one) unless wavelengths contradict, then by wavelength and width;
    a file without any of these is taken in order if it has as many bands as are wanted. The bands of an imaging
    spectrometer are averaged over the width of each wanted one, and by "wavelength" those of a series over its dates.

    Args:
        wanted: In the wanted order.
        info: Of the file.
        chosen: Overrules the file: the name of each of its bands, in its order; or the number in the file of each
            wanted band, 0 for one that it lacks.
        missing: Whether the file may lack wanted bands, though never all of them.
        sensor: What recorded the file, where it does not say.
        by: "wavelength" trusts neither order nor names that sensors give to different wavelengths.

    Raises:
        RasterError: if bands are missing or cannot be told apart, or `chosen` does not fit the file.
        RecipeError: if the sensor is not known.
    """
    words = [number for number in chosen or () if isinstance(number, str)]
    if chosen is not None and not words:
        places = _chosen_numbers(wanted, info, [int(number) for number in chosen], missing)
        return BandMatch(tuple(wanted), places, "list", read_spectra(info, sensor=sensor))
    if chosen is not None and len(chosen) != info.bands:
        raise RasterError(
            f"{info.path} has {info.bands} bands, but {len(chosen)} were named ({', '.join(map(str, chosen))}); name "
            "each of its bands, in its order"
        )
    spectra = read_spectra(info, [str(name) for name in chosen or ()], sensor)
    known = [spectrum for spectrum in spectra if spectrum.wavelength is not None]
    if chosen is None and info.undescribed:
        tagged = any(own.wavelength for own in info.spectra) and any(band.wavelength for band in wanted)
        if by == "name" and not sensor and not tagged and info.bands == len(wanted):
            return BandMatch(tuple(wanted), tuple(range(1, len(wanted) + 1)), "order", spectra)
        if not known:
            _refuse_nameless(wanted, info, sensor)
    if by == "wavelength":
        _require_certain(info, spectra)
    if len({round(spectrum.wavelength or 0) for spectrum in known}) >= HYPERSPECTRAL:
        match = _averaged(wanted, spectra)
    else:
        match = _one_each(wanted, info, spectra, by)
    _require_found(match, info, missing)
    return replace(match, how="list") if chosen is not None else match


def _averaged(wanted: Sequence[Band], spectra: tuple[Spectrum, ...]) -> BandMatch:
    """Match the bands of a spectrometer, several to each wanted one."""
    groups = tuple(_within(band, spectra) for band in wanted)
    numbers = tuple(_middle(band, group, spectra) for band, group in zip(wanted, groups, strict=True))
    return BandMatch(tuple(wanted), numbers, "wavelength", spectra, groups)


def _one_each(wanted: Sequence[Band], info: RasterInfo, spectra: tuple[Spectrum, ...], by: By) -> BandMatch:
    """Match bands by name and wavelength, one to each wanted one, or one of each date of a series."""
    series = _series(spectra) if by == "wavelength" else {}
    later = {number for dates in series.values() for number in dates[1:]}
    first = [Spectrum() if number in later else own for number, own in enumerate(spectra, start=1)]
    named = _by_name(wanted, info, first, by)
    numbers = _by_wavelength(wanted, info, first, named)
    groups = tuple(series.get(number, (number,)) if number else () for number in numbers) if series else ()
    how: Literal["description", "wavelength"] = "description" if numbers == named else "wavelength"
    return BandMatch(tuple(wanted), tuple(numbers), how, spectra, groups)


def read_spectra(info: RasterInfo, names: Sequence[str] = (), sensor: str = "") -> tuple[Spectrum, ...]:
    """Return where each band of a file lies in the spectrum, as far as is known, and what it is called.

    Args:
        info: Of the file.
        names: Of its bands, as the user says; its own where empty.
        sensor: As the user says; what the file says where empty.

    Raises:
        RecipeError: if the sensor is not known.
    """
    called = list(names) or list(info.names)
    recorded = find_sensor(sensor) if sensor else SENSORS.get(info.sensor) or _sensor_of_names(called)
    tags = () if names else info.spectra
    if recorded is not None and not names and info.undescribed and not any(band.wavelength for band in tags):
        return recorded.in_order(info.bands) or tuple(map(Spectrum, called))
    tags = tags or (Spectrum(),) * len(called)
    return tuple(_spectrum(name, tag, recorded) for name, tag in zip(called, tags, strict=True))


def _spectrum(name: str, tag: Spectrum, sensor: Sensor | None) -> Spectrum:
    """Return what is known of one band: of its tags, else its name, where a sensor knows that more exactly."""
    if tag.wavelength is not None:
        return replace(tag, name=name)
    said = read_name(name)
    exact = sensor and (sensor.named(name.strip()) or sensor.named(numbered(name)) or sensor.named(name.lower()))
    # Words overrule a number, as where the bands of a sensor were stacked anew.
    if exact and (said.wavelength is None or _one_part(said.wavelength, exact.wavelength)):
        return replace(exact, name=name)
    return said


def _sensor_of_names(names: Sequence[str]) -> Sensor | None:
    """Return the only sensor that calls bands so; what Landsat calls B1 to B7 may be several."""
    if any(re.match(r"sur_refl_b0\d|nadir_reflectance_band\d", name.lower()) for name in names):
        return SENSORS["modis"]
    numbers = {numbered(name) for name in names} - {""}
    own = numbers & {"B8A", "B12"} and numbers <= SENSORS["sentinel2"].bands.keys()
    return SENSORS["sentinel2"] if own or numbers == {"B2", "B3", "B4", "B8"} else None  # the latter are those of 10 m


def _one_part(one: float | None, other: float | None) -> bool:
    return None not in (one, other) and part_of_spectrum(one or 0) == part_of_spectrum(other or 0) != ""


def _fits(band: Band, spectrum: Spectrum) -> bool:
    """Whether a band of a file may stand for a wanted one: both show one part of the spectrum, and they touch."""
    if band.wavelength is None or spectrum.wavelength is None:
        return False
    own = width_of(spectrum.wavelength, spectrum.width)
    if own > _WIDEST and spectrum.wavelength < 1000:
        return False
    reach = width_of(band.wavelength, band.width) + own
    near = abs(band.wavelength - spectrum.wavelength) <= reach / 2
    return near and _one_part(band.wavelength, spectrum.wavelength)


def _by_name(wanted: Sequence[Band], info: RasterInfo, spectra: Sequence[Spectrum], by: By) -> list[int | None]:
    """Return the number in the file of each wanted band that it has by name, unless a wavelength contradicts."""
    numbers: list[int | None] = []
    for band in wanted:
        places = [
            number
            for number, spectrum in enumerate(spectra, start=1)
            if _key(spectrum.name) == _key(band.name)
            and (not _both_known(band, spectrum) or (by == "name" and _fits(band, spectrum)))
        ]
        if len(places) > 1:
            raise RasterError(
                f"{info.path} has {band.name} as its bands {' and '.join(map(str, places))}; name its bands with "
                "--bands so that one is left"
            )
        numbers.append(places[0] if places else None)
    return numbers


def _both_known(band: Band, spectrum: Spectrum) -> bool:
    return band.wavelength is not None and spectrum.wavelength is not None


def _by_wavelength(
    wanted: Sequence[Band], info: RasterInfo, spectra: Sequence[Spectrum], named: Sequence[int | None]
) -> list[int | None]:
    """Add to the bands found by name those found by wavelength: the nearest pairs first, every band once."""
    numbers, left = list(named), set(range(1, len(spectra) + 1)) - {number for number in named if number}
    pairs = sorted(
        (abs((band.wavelength or 0) - (spectra[number - 1].wavelength or 0)), place, number)
        for place, band in enumerate(wanted)
        for number in left
        if numbers[place] is None and _fits(band, spectra[number - 1])
    )
    for distance, place, number in pairs:
        if numbers[place] is not None or number not in left:
            continue
        rivals = [other for gap, at, other in pairs if at == place and other in left and gap - distance < _SAME]
        rivals = [other for other in rivals if abs(_centre(spectra, other) - _centre(spectra, number)) < _SAME]
        if len(rivals) > 1:
            names = [f"{other} {spectra[other - 1].name!r}" for other in rivals]
            raise RasterError(
                f"{info.path} has {len(rivals)} bands of {_centre(spectra, number):g} nm: {_list(names)}; expected one "
                f"for {wanted[place].name}. Say which with --bands: the number in the file of each of the model's "
                f"bands {', '.join(band.name for band in wanted)}, 0 for one that the file lacks."
            )
        numbers[place] = number
        left.remove(number)
    return numbers


def _centre(spectra: Sequence[Spectrum], number: int) -> float:
    return spectra[number - 1].wavelength or 0.0


def _series(spectra: Sequence[Spectrum]) -> dict[int, tuple[int, ...]]:
    """Return the bands whose names differ in their dates alone, by the number of the first."""
    dates: dict[str, list[int]] = {}
    for number, own in enumerate(spectra, start=1):
        name, found = _DATE.subn("", own.name)
        if found:
            dates.setdefault(name, []).append(number)
    return {numbers[0]: tuple(numbers) for numbers in dates.values() if len(numbers) > 1}


def _within(band: Band, spectra: Sequence[Spectrum]) -> tuple[int, ...]:
    """Return the bands of a spectrometer within the width of a wanted one, else the nearest if it may stand for it."""
    if band.wavelength is None:
        return tuple(number for number, own in enumerate(spectra, start=1) if _key(own.name) == _key(band.name))[:1]
    half = width_of(band.wavelength, band.width) / 2
    off = {n: abs(own.wavelength - band.wavelength) for n, own in enumerate(spectra, start=1) if own.wavelength}
    nearest = min(off, key=lambda number: off[number])
    inside = tuple(number for number, distance in off.items() if distance <= half)
    return inside or ((nearest,) if _fits(band, spectra[nearest - 1]) else ())


def _middle(band: Band, group: Sequence[int], spectra: Sequence[Spectrum]) -> int | None:
    """Return the band of a group that is nearest to the wanted one."""
    return min(group, key=lambda number: abs(_centre(spectra, number) - (band.wavelength or 0)), default=None)


def _require_certain(info: RasterInfo, spectra: Sequence[Spectrum]) -> None:
    """Refuse names by number alone: sensors give them to different wavelengths."""
    doubtful = [own.name for own in spectra if own.wavelength is None and numbered(own.name)]
    known = sum(own.wavelength is not None for own in spectra)
    if len(doubtful) > known and not any(own.source in SENSORS for own in spectra):
        raise RasterError(
            f"{info.path} has bands {_list(doubtful)} of a sensor that it does not name; expected wavelengths, since "
            "B4 is red for Landsat 8 and Sentinel-2 and near infrared for Landsat 5 and 7. Say which with --sensor "
            f"({', '.join(SENSORS)}), or name the bands with --bands: by colour, or wavelength such as 665nm."
        )


def _refuse_nameless(wanted: Sequence[Band], info: RasterInfo, sensor: str) -> NoReturn:
    """Refuse a file that does not say what its bands are."""
    if sensor:
        orders = find_sensor(sensor).orders
        counts = ", ".join(str(len(order)) for order in orders)
        raise RasterError(
            f"{info.path} has {info.bands} bands without descriptions; of {sensor} the orders of {counts} bands are "
            "known. Name its bands with --bands, in the file's order."
        )
    raise RasterError(
        f"{info.path} has {info.bands} bands without descriptions; expected {len(wanted)} ({_list_bands(wanted)}). "
        "Name the bands you have with --bands, in the file's order, say what recorded them with --sensor, or choose a "
        "model trained on them."
    )


def _require_found(match: BandMatch, info: RasterInfo, missing: str) -> None:
    """Refuse a file that lacks what it must have."""
    lost = [band.name for band, number in zip(match.bands, match.numbers, strict=True) if number is None]
    if not lost or (missing == "allow" and len(lost) < len(match.bands)):
        return
    names = [f"{own.name or number}" for number, own in enumerate(match.spectra, start=1)]
    unknown = any(own.wavelength is None for own in match.spectra) and any(band.wavelength for band in match.bands)
    of = "Say what recorded them with --sensor, name the bands" if unknown else "Name the bands"
    raise RasterError(
        f"{info.path} has the bands {_list(names)}; expected {_list_bands(match.bands)}, but {', '.join(lost)} "
        f"{'is' if len(lost) == 1 else 'are'} not among them. {of} you have with --bands, in the file's order, or "
        "choose a model trained on them."
    )


def _chosen_numbers(
    wanted: Sequence[Band], info: RasterInfo, numbers: list[int], missing: str
) -> tuple[int | None, ...]:
    """Check the numbers given for the wanted bands; 0 becomes None."""
    wrong = [number for number in numbers if not 0 <= number <= info.bands]
    if len(numbers) != len(wanted) or wrong:
        raise RasterError(
            f"{info.path} has bands 1 to {info.bands}; expected the number of each of {_list_bands(wanted)}, received "
            f"{numbers}"
        )
    if not any(numbers) or (missing == "refuse" and not all(numbers)):
        raise RasterError(
            f"{info.path}: band numbers {numbers} leave out some of {_list_bands(wanted)} (0 is a missing band)"
        )
    return tuple(number or None for number in numbers)


def _key(name: str) -> str:
    """Return what two spellings of a band's name have in common."""
    return numbered(name) if name.strip().lower().startswith("b") and numbered(name) else name.strip().lower()


def _list_bands(bands: Sequence[Band]) -> str:
    names = [band.name for band in bands]
    return ", ".join(names) if len(names) <= 6 else f"{names[0]} ... {names[-1]}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 16 else f"{', '.join(names[:6])} ... {names[-1]}"
