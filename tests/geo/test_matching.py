"""Bands by wavelength and width, of files that name them in other ways than the model does."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from fewshot.errors import RasterError, RecipeError
from fewshot.geo.averages import read_averages
from fewshot.geo.bands import Band, BandMatch
from fewshot.geo.grid import Grid
from fewshot.geo.matching import match_bands
from fewshot.geo.rasters import RasterInfo
from fewshot.geo.sensors import SENSORS, find_sensor
from fewshot.geo.spectrum import Spectrum, part_of_spectrum
from fewshot.geo.values import to_values
from fewshot.geo.windows import Window

CENTRES = {"B1": 443, "B2": 490, "B3": 560, "B4": 665, "B5": 705, "B6": 740, "B7": 783, "B8A": 865}
CENTRES |= {"B11": 1610, "B12": 2190}
WIDTHS = {"B1": 20, "B2": 65, "B3": 35, "B4": 30, "B5": 15, "B6": 15, "B7": 20, "B8A": 20, "B11": 90, "B12": 180}
TEN = tuple(Band(name, CENTRES[name], width=width) for name, width in WIDTHS.items())
RGB = tuple(Band(name, CENTRES[name], 1e-4) for name in ("B4", "B3", "B2"))


def info(names: Sequence[str], wavelengths: Sequence[float] = (), sensor: str = "") -> RasterInfo:
    ones, zeros = (1.0,) * len(names), (0.0,) * len(names)
    grid = Grid(4, 4, Affine.identity(), None)
    spectra = tuple(Spectrum("", centre, None, "tags") for centre in wavelengths) or (Spectrum(),) * len(names)
    return RasterInfo(Path("may.tif"), grid, "uint16", tuple(names), None, ones, zeros, {}, (4, 4), spectra, sensor)


def found(match: BandMatch) -> dict[str, int]:
    return {band.name: number for band, number in zip(match.bands, match.numbers, strict=True) if number}


def ten(given: RasterInfo, sensor: str = "", chosen: Sequence[str | int] | None = None) -> dict[str, int]:
    return found(match_bands(TEN, given, missing="allow", by="wavelength", sensor=sensor, chosen=chosen))


SIX = {"B2": 1, "B3": 2, "B4": 3, "B8A": 4, "B11": 5, "B12": 6}
LANDSAT7 = ("B1", "B2", "B3", "B4", "B5", "B7")


def test_wavelengths_overrule_the_names_that_another_sensor_has() -> None:
    given = info(LANDSAT7, (479, 561, 661, 835, 1650, 2208))
    assert ten(given) == SIX
    match = match_bands(RGB, given)
    assert (match.numbers, match.how) == ((3, 2, 1), "wavelength")
    assert match.say().startswith("B4 (665 nm) <- band 3 'B3' (661 nm); ")


def test_the_user_or_the_file_says_the_sensor() -> None:
    assert ten(info(LANDSAT7), "landsat7") == SIX
    assert ten(info(LANDSAT7, sensor="landsat5")) == SIX
    assert ten(info(("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7")), "Landsat-8") == SIX
    with pytest.raises(RecipeError, match=r"--sensor spot: not known; expected one of landsat4, .*--bands"):
        ten(info(LANDSAT7), "spot")


def test_names_by_number_of_an_unknown_sensor_are_doubtful() -> None:
    with pytest.raises(RasterError, match=r"B1, B2, B3, B4, B5, B7 of a sensor that it does not name; .*--sensor"):
        ten(info(LANDSAT7))
    with pytest.raises(RasterError, match="--sensor"):
        ten(info(("x",) * 6), chosen=LANDSAT7)
    assert ten(info(("B2", "B3", "B4", "B8"))) == {"B2": 1, "B3": 2, "B4": 3, "B8A": 4}
    assert ten(info(("B1", "B2", "B8A", "B12"))) == {"B1": 1, "B2": 2, "B8A": 3, "B12": 4}
    # A model that must have its bands takes these by name, as it always did.
    assert match_bands(RGB, info(LANDSAT7)).numbers == (4, 3, 2)


@pytest.mark.parametrize(
    ("sensor", "count", "expected"),
    [
        ("landsat5", 6, SIX),
        ("landsat7", 8, {**SIX, "B12": 7}),
        ("landsat8", 9, {"B1": 1, "B2": 2, "B3": 3, "B4": 4, "B8A": 5, "B11": 6, "B12": 7}),
        ("landsat9", 6, SIX),
        ("sentinel2", 12, {name: number for number, name in enumerate(WIDTHS, 1)} | {"B8A": 9, "B11": 11, "B12": 12}),
        ("modis", 7, {"B4": 1, "B8A": 2, "B2": 3, "B3": 4, "B11": 6, "B12": 7}),
        ("planetscope", 4, {"B2": 1, "B3": 2, "B4": 3, "B8A": 4}),
        ("planetscope", 8, {"B1": 1, "B2": 2, "B3": 4, "B4": 6, "B5": 7, "B8A": 8}),
        ("naip", 4, {"B4": 1, "B3": 2, "B2": 3, "B8A": 4}),
        ("aerial", 3, {"B4": 1, "B3": 2, "B2": 3}),
    ],
)
def test_files_without_names_have_the_bands_of_their_sensor(sensor: str, count: int, expected: dict[str, int]) -> None:
    assert ten(info(("",) * count), sensor) == expected


def test_files_without_names_are_not_guessed_at() -> None:
    with pytest.raises(RasterError, match="10 bands without descriptions; .*--sensor"):
        ten(info(("",) * 10))
    with pytest.raises(RasterError, match="3 bands without descriptions; of landsat7 the orders of 6, 7, 8, 9 bands"):
        ten(info(("",) * 3), "landsat7")


def test_colours_and_wavelengths_are_names_too() -> None:
    colours = ("blue", "green", "red", "nir", "swir1", "swir2")
    assert ten(info(colours)) == ten(info(("x",) * 6), chosen=colours) == SIX
    assert ten(info(("x",) * 4), chosen=("490nm", "560nm", "0.665 um", "842nm")) == {
        "B2": 1,
        "B3": 2,
        "B4": 3,
        "B8A": 4,
    }


@pytest.mark.parametrize(("wavelength", "slot"), [(842, "B8A"), (820, "B8A"), (783, "B7"), (2130, "B12"), (469, "B2")])
def test_near_enough_is_found(wavelength: float, slot: str) -> None:
    assert ten(info(("a", "b"), (560, wavelength))) == {"B3": 1, slot: 2}


@pytest.mark.parametrize("wavelength", [940, 610, 1240, 1375, 11000])
def test_too_far_is_missing(wavelength: float) -> None:
    assert ten(info(("a", "b"), (560, wavelength))) == {"B3": 1}


def test_a_band_stands_for_one_wanted_band_alone() -> None:
    assert ten(info(("B8", "B8A"), (842, 865))) == {"B8A": 2}
    assert ten(info(("a", "b"), (705, 560))) == {"B5": 1, "B3": 2}


def test_missing_bands_are_refused_where_a_model_needs_them() -> None:
    with pytest.raises(RasterError, match=r"B2 is not among them\. .*--bands"):
        match_bands(RGB, info(("red", "green")))


def test_two_bands_of_one_wavelength_are_ambiguous() -> None:
    with pytest.raises(RasterError, match=r"2 bands of 660 nm: 1 'red min', 3 'red max'; expected one for B4.*--bands"):
        ten(info(("red min", "green", "red max")))


def test_a_series_is_averaged_over_its_dates() -> None:
    names = [f"{name} {date}" for date in ("2007-09-14", "2007-09-30", "20071016") for name in ("red", "nir")]
    match = match_bands(TEN, info(names), missing="allow", by="wavelength")
    assert found(match) == {"B4": 1, "B8A": 2}
    assert [group for group in match.groups if group] == [(1, 3, 5), (2, 4, 6)]
    assert "B4 (665 nm) <- mean of 3 bands, 1 'red 2007-09-14' to 5 'red 20071016'" in match.say()
    assert match.describe()[3] | {"mean_of": [1, 3, 5], "how": "wavelength"} == match.describe()[3]
    with pytest.raises(RasterError, match="3 bands of 660 nm"):
        match_bands(RGB, info([*names, "green", "blue"]))


def spectrometer() -> RasterInfo:
    centres = np.arange(400, 2500, 7.0)
    return info([f"{centre:g} nm" for centre in centres])


def test_a_spectrometer_is_averaged_over_the_width_of_a_band() -> None:
    given = spectrometer()
    match = match_bands(TEN, given)
    assert match.found and None not in match.numbers
    centres = np.arange(400, 2500, 7.0)
    for band, group in zip(TEN, match.groups, strict=True):
        assert band.wavelength is not None and band.width is not None
        assert np.array_equal(np.array(group) - 1, np.flatnonzero(abs(centres - band.wavelength) <= band.width / 2))


def test_averages_are_of_the_valid_bands_in_the_scale_of_their_own_band(monkeypatch: pytest.MonkeyPatch) -> None:
    given = spectrometer()
    scales = tuple(np.linspace(1e-4, 2e-4, given.bands).tolist())
    given = replace(given, scales=scales)
    match = match_bands(TEN, given)
    values = np.random.default_rng(1).uniform(0.1, 0.9, (11, 5, given.bands))
    stored = (values / scales).astype(np.float32)
    seen = np.random.default_rng(2).uniform(size=stored.shape) < 0.7

    def read(window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = window.slices
        places = np.array(bands) - 1
        return np.where(seen, stored, 0)[rows, columns][..., places], seen[rows, columns][..., places]

    pixels, valid = read_averages(read, Window(0, 0, 11, 5), given, match)
    monkeypatch.setattr("fewshot.geo.averages._AT_ONCE", 2000)  # a few rows at a time
    again, _ = read_averages(read, Window(0, 0, 11, 5), given, match)
    np.testing.assert_allclose(again, pixels, rtol=1e-5)
    found_values, _ = to_values(pixels, valid.copy(), given, match)
    for place, group in enumerate(match.groups):
        places = np.array(group) - 1
        there = seen[..., places]
        assert np.array_equal(valid[..., place], there.any(axis=-1))
        mean = np.where(there, values[..., places], 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
        np.testing.assert_allclose(found_values[..., place], mean, rtol=1e-4)


def test_gaps_are_filled_with_the_mean_of_each_band() -> None:
    match = BandMatch((Band("a"), Band("b"), Band("c")), (1, None, 2), "list")
    pixels = np.array([[[3000, 5], [0, 7], [1000, 0]]], np.int16)
    valid = np.array([[[True, False], [False, False], [True, False]]])
    values, complete = to_values(pixels, valid, info(("a", "c")), match, gaps="mean")
    np.testing.assert_array_equal(values, [[[3000, 0, 0], [2000, 0, 0], [1000, 0, 0]]])
    assert not complete.any()


def test_the_sensors_are_what_they_say() -> None:
    assert find_sensor("Sentinel-2") is SENSORS["sentinel2"]
    for sensor in SENSORS.values():
        assert {name for order in sensor.orders for name in order} <= sensor.bands.keys()
        assert len({len(order) for order in sensor.orders}) == len(sensor.orders)
        for centre, width in sensor.bands.values():
            assert part_of_spectrum(centre) and 10 < width < 0.55 * centre, sensor.name
