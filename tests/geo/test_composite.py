"""Several dates as one scene: composed while windows are read, whatever the windows, or as further bands."""

import datetime
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.errors import RasterError, RecipeError
from fewshot.geo import composite, spool
from fewshot.geo.bands import Band
from fewshot.geo.composing import Composing, PicturePlan
from fewshot.geo.composite import compose, describe_pictures, open_dates
from fewshot.geo.dated import DatedPlaces
from fewshot.geo.grid import Grid
from fewshot.geo.pictures import open_pictures
from fewshot.geo.products import date_in, split_date
from fewshot.geo.rasters import RasterReader
from fewshot.geo.remembering import RememberingScene
from fewshot.geo.scene import Scene, Stored
from fewshot.geo.scene_part import ScenePart
from fewshot.geo.showing import open_numbers
from fewshot.geo.windows import Window
from fewshot.geo.writing import write_raster
from tests.geo.published import write_landsat, write_safe

Make = Callable[..., Grid]
BANDS = (Band("B4", 665, scale=1e-4), Band("B8", 833, scale=1e-4))
DATES = ("2024-05-02", "2024-06-01", "2024-06-11", "2024-07-03")
ALL = Window(0, 0, 20, 30)


@pytest.fixture
def series(make_grid: Make, tmp_path: Path) -> tuple[list[str], np.ndarray]:
    """Pictures of four dates with clouds, and their reflectance [dates, H, W, bands], NaN under clouds."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(100, 6000, (len(DATES), 20, 30, 2)).astype(np.uint16)
    clouds = rng.random((len(DATES), 20, 30)) < 0.4
    clouds[:, 3, 5] = True
    for day, numbers, cloud in zip(DATES, pixels, clouds, strict=True):
        path = tmp_path / f"scene_{day.replace('-', '')}.tif"
        write_raster(path, numbers, make_grid(), names=("B4", "B8"))
        write_raster(path.with_name(f"{path.stem}_SCL.tif"), np.where(cloud, 9, 4).astype(np.uint8), make_grid())
    truth = np.where(clouds[..., np.newaxis], np.nan, pixels * 1e-4)
    return [str(tmp_path / f"scene_{date.replace('-', '')}.tif") for date in DATES], truth


def opened(sources: list[str], how: Composing, bands: tuple[Band, ...] = BANDS, mask: str = "SCL") -> Scene:
    return open_dates(open_pictures(sources, PicturePlan(mask=mask, composite=how)), how, bands)


def expected_of(truth: np.ndarray, how: str) -> np.ndarray:
    if how == "ndvi":
        index = (truth[..., 1] - truth[..., 0]) / (truth[..., 1] + truth[..., 0])
        best = np.where(np.isnan(index), -9, index).argmax(axis=0)
        return np.take_along_axis(truth, best[np.newaxis, ..., np.newaxis], axis=0)[0]
    return np.asarray(np.nanmedian(truth, axis=0) if how == "median" else np.nanmean(truth, axis=0))


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Mean of empty slice")
@pytest.mark.parametrize("how", ["median", "mean", "ndvi"])
@pytest.mark.parametrize("at_once", [8 << 20, 500], ids=["one strip", "strips"])
def test_pixels_are_made_of_the_dates_that_show_them(
    series: tuple[list[str], np.ndarray], how: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composite, "_AT_ONCE", at_once)
    held: list[int] = []

    def compose_and_count(values: np.ndarray, *more: Any) -> np.ndarray:
        held.append(values.size)
        return compose(values, *more)

    monkeypatch.setattr(composite, "compose", compose_and_count)
    sources, truth = series
    scene = opened(sources, how)
    values, valid = scene.read(ALL)
    expected = expected_of(truth, how)
    assert np.array_equal(valid, np.isfinite(expected[..., 0])) and not valid[3, 5]
    assert sum(held) == truth.size and max(held) <= max(at_once, truth[:, 0].size)
    np.testing.assert_allclose(values[valid], expected[valid], atol=1e-6)
    assert not values[~valid].any()
    part, seen = scene.read(Window(5, 7, 9, 30))  # reaches outside
    np.testing.assert_array_equal(part[:, :23], values[5:14, 7:])
    assert np.array_equal(seen[:, :23], valid[5:14, 7:]) and not seen[:, 23:].any()
    again = pickle.loads(pickle.dumps(scene)).read(ALL)
    assert np.array_equal(again[0], values) and np.array_equal(again[1], valid)


@pytest.mark.parametrize("in_memory", [32 << 20, 0], ids=["in memory", "in a file"])
def test_each_date_is_read_once_a_window(
    series: tuple[list[str], np.ndarray], in_memory: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(composite, "_AT_ONCE", 500)  # some rows at a time
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    seen: list[str] = []

    def read_and_count(reader: RasterReader, path: Any, *more: Any, **options: Any) -> Any:
        seen.append(str(path))
        return read(reader, path, *more, **options)

    read = RasterReader.read
    monkeypatch.setattr(RasterReader, "read", read_and_count)
    sources, truth = series
    values, valid = opened(sources, "mean").read(ALL)
    assert sorted(seen) == sorted(sources)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        np.testing.assert_allclose(values[valid], expected_of(truth, "mean")[valid], atol=1e-6)
    assert list(tmp_path.glob("cache/*")) == []


def test_what_finds_no_room_for_its_dates_says_so(
    series: tuple[list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", 0)
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RasterError, match=r"kept in .*cache for a while, .*FEWSHOT_CACHE"):
        opened(series[0], "mean").read(ALL)


def test_composed_values_are_handed_on_as_they_are_wanted(series: tuple[list[str], np.ndarray]) -> None:
    sources, truth = series
    scene = opened(sources, "mean")
    values, valid = scene.read(ALL)
    stored = scene.reading(BANDS, stored=Stored((1 / 255,) * 2, (0.0,) * 2, whole=True)).read(ALL)[0]
    assert np.array_equal(stored, np.clip(np.round(values * 255), 0, 255))
    filled = scene.reading(BANDS, gaps="mean").read(ALL)[0]
    np.testing.assert_allclose(filled[3, 5], values[valid].mean(axis=0), rtol=1e-5)
    scene.check_units()
    with pytest.raises(RasterError, match="expected reflectance of about 0-1"):
        scene.reading([Band("B4", 665), Band("B8", 833)]).check_units()


def test_the_report_says_dates_masks_and_how(series: tuple[list[str], np.ndarray]) -> None:
    scene = opened(series[0][::-1], "median")
    assert scene.lines()[-1] == ("Dates: 4, 2024-05-02 to 2024-07-03; each pixel is the median of those that show it.")
    said = scene.describe()
    assert (said["composite"], said["dates"], len(said["masks"])) == ("median", list(DATES), 4)
    assert len(scene.files()) == 4
    assert said != opened(series[0], "mean").describe()


def test_dates_are_remembered_as_they_are_composed(series: tuple[list[str], np.ndarray]) -> None:
    scene = opened(series[0], "median")
    remembering = RememberingScene(scene)
    for window in (ALL, Window(2, -3, 8, 8), Window(2, -3, 8, 8)):
        assert all(map(np.array_equal, remembering.read(window), scene.read(window)))
    assert np.array_equal(remembering.valid(ALL), scene.valid(ALL))
    assert remembering.of_dates(None) is remembering
    day = datetime.date.fromisoformat(DATES[1]).toordinal()
    places = DatedPlaces(np.array([9]), np.array([9]), np.array([day]))
    assert all(map(np.array_equal, remembering.of_dates(places).read(ALL), scene.of_dates(places).read(ALL)))


def test_a_reduced_composite_is_composed_of_the_means_of_the_dates(make_grid: Make, tmp_path: Path) -> None:
    """The second date begins three rows and five columns before the first, amid a larger pixel."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(100, 6000, (2, 20, 30, 2)).astype(np.uint16)
    corners = [(500000, 5000000), (500000 - 50, 5000000 + 30)]
    for date, numbers, corner in zip(DATES, pixels, corners, strict=False):
        write_raster(tmp_path / f"{date}.tif", numbers, make_grid(corner=corner), names=("B4", "B8"), nodata=0)
    sources = [f"{date}={tmp_path / date}.tif" for date in DATES[:2]]
    scene = opened(sources, "mean", mask="")
    assert (scene.grid.height, scene.grid.width) == (23, 35)
    reduced = scene.reduced(4)
    assert (reduced.grid.height, reduced.grid.width) == (6, 9)
    assert reduced.grid.to_map(1, 1) == scene.grid.to_map(4, 4)
    values, valid = reduced.read(Window(0, 0, 6, 9))
    whole = np.zeros((2, 24, 36, 2))
    whole[0, 3:23, 5:35], whole[1, :20, :30] = pixels * 1e-4
    assert valid[:5, :8].all()
    # Where a date begins or ends amid a pixel, its share of that is stretched over the pixel.
    wanted = whole.reshape(2, 6, 4, 9, 4, 2).mean(axis=(0, 2, 4))
    assert np.abs(values - wanted)[1:5, 2:7].max() < 2e-4
    part = ScenePart(scene, Window(5, 9, 10, 12), 4)
    assert np.array_equal(part.read(Window(0, 0, *part.size))[0], values[1:4, 2:6])
    again = pickle.loads(pickle.dumps(part))
    assert np.array_equal(again.read(Window(0, 0, 2, 2))[0], values[1:3, 2:4])


@pytest.mark.parametrize("how", ["median", "mean", "ndvi", "stack"])
def test_the_numbers_of_dates_are_shown_as_they_are_composed(series: tuple[list[str], np.ndarray], how: Any) -> None:
    pictures = open_pictures(series[0], PicturePlan(mask="SCL", composite=how))
    info, read = open_numbers(pictures, how, sensor="sentinel2")
    bands = (8, 1) if how == "stack" else (2, 1)
    found, valid = read(Window(4, 8, 12, 20), bands, 1)
    if how == "stack":
        first, last = series[1][0], series[1][-1]
        wanted = np.stack([last[..., 1], first[..., 0]], axis=-1)[4:16, 8:28]
        seen = np.isfinite(wanted).all(axis=-1)
    else:
        scene, seen = opened(series[0], how, BANDS[::-1]).read(Window(4, 8, 12, 20))
        wanted = scene
    assert (info.bands, found.shape) == (8 if how == "stack" else 2, (12, 20, 2))
    assert np.array_equal(valid, np.repeat(seen[..., np.newaxis], 2, axis=-1))
    np.testing.assert_allclose(found[seen] * 1e-4, wanted[seen], rtol=1e-5)
    assert read(Window(4, 8, 12, 20), bands, 4)[0].shape == (3, 5, 2)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("2024-06-01=may.tif", ("2024-06-01", "may.tif")),
        ("20240601=https://host/a=b.tif", ("2024-06-01", "https://host/a=b.tif")),
        ("./20241301=may.tif", ("", "./20241301=may.tif")),
        ("NETCDF:a.nc:x=1", ("", "NETCDF:a.nc:x=1")),
    ],
)
def test_a_date_may_stand_before_a_name(source: str, found: tuple[str, str]) -> None:
    assert split_date(source) == found


@pytest.mark.parametrize("date", ["2024-13-01", "20240631", "2023-02-29"])
def test_a_day_that_there_is_not_is_refused(date: str) -> None:
    with pytest.raises(RecipeError, match=rf"{date} of {date}=may\.tif is no date; expected .*write \./{date}=may"):
        split_date(f"{date}=may.tif")
    assert date_in(f"S2A_{date} of 2024-06-01") == "2024-06-01"


def test_dates_that_are_said_are_composed_without_asking(series: tuple[list[str], np.ndarray]) -> None:
    sources, truth = series
    named = [f"{date}={source}" for date, source in zip(DATES, sources, strict=True)]
    assert np.array_equal(opened(named, "").read(ALL)[0], opened(sources, "median").read(ALL)[0])
    assert len(open_pictures(sources, PicturePlan())) == 1
    with pytest.raises(RasterError, match=r"scene_20240701\.tif has no date, while others have one \(2024-05-02\)"):
        Path(sources[0]).rename(undated := Path(sources[0]).with_name("scene_20240701.tif"))
        open_pictures([f"2024-05-02={sources[1]}", str(undated)], PicturePlan())


def test_files_of_one_day_are_neighbours_and_days_are_composed(make_grid: Make, tmp_path: Path) -> None:
    sources = []
    for date, level in (("2024-06-01", 1000), ("2024-06-11", 3000)):
        for tile, corner in enumerate((500000, 500300)):
            sources.append(f"{date}={tmp_path}/{date}_{tile}.tif")
            pixels = np.full((20, 30, 2), level + tile * 100, np.uint16)
            write_raster(
                tmp_path / f"{date}_{tile}.tif", pixels, make_grid(corner=(corner, 5000000)), names=("B4", "B8")
            )
    scene = opened(sources[:3], "", mask="")
    assert (scene.grid.height, scene.grid.width) == (20, 60)
    values, valid = scene.read(Window(0, 0, 20, 60))
    assert valid.all()
    np.testing.assert_allclose(values[:, :30], 0.2, atol=1e-6)  # two dates
    np.testing.assert_allclose(values[:, 30:], 0.11, atol=1e-6)  # one


def test_dates_of_landsat_begin_at_other_pixels(tmp_path: Path) -> None:
    """The scenes of one path and row are shifted by some pixels from date to date."""
    sources = []
    for number, date in enumerate(("2024-06-01", "2024-06-17")):
        corner = (500085.0 + 30 * 4 * number, 5600115.0)
        folder = tmp_path / date
        sources.append(
            str(write_landsat(folder, {"B4": np.full((12, 20), 0.1 + 0.2 * number)}, date=date, corner=corner))
        )
    scene = open_dates(open_pictures(sources, PicturePlan()), "", [Band("B4")])
    assert scene.grid.width == 24
    values, valid = scene.read(Window(0, 0, 12, 24))
    assert valid.all()
    np.testing.assert_allclose(values[0, [0, 10, 23], 0], [0.1, 0.2, 0.3], atol=2e-5)


def test_products_before_and_since_the_offset_are_composed(tmp_path: Path) -> None:
    level = {"B04": np.full((12, 12), 0.3)}
    sources = [
        str(write_safe(tmp_path, level, date=date, offset=offset))
        for date, offset in (("2021-06-01", 0), ("2024-06-01", -1000))
    ]
    scene = open_dates(open_pictures(sources, PicturePlan()), "mean", [Band("B4")])
    np.testing.assert_allclose(scene.read(Window(0, 0, 12, 12))[0], 0.3, atol=1e-6)


def test_dates_may_be_further_bands(series: tuple[list[str], np.ndarray]) -> None:
    sources, truth = series
    pictures = open_pictures(sources[:2], PicturePlan(mask="SCL", composite="stack"))
    assert describe_pictures(pictures, "stack").names == (
        *("B4 2024-05-02", "B8 2024-05-02"),
        *("B4 2024-06-01", "B8 2024-06-01"),
    )
    wanted = [Band(name, scale=1e-4) for name in "abcd"]
    values, valid = open_dates(pictures, "stack", wanted, chosen=[1, 2, 3, 4]).read(ALL)
    expected = np.concatenate(list(truth[:2]), axis=-1)
    assert np.array_equal(valid, np.isfinite(expected).all(axis=-1))
    np.testing.assert_allclose(values[valid], expected[valid], atol=1e-6)


@pytest.mark.parametrize(
    ("grid", "names", "message"),
    [
        ({"corner": (500004, 5000000)}, ("B4", "B8"), r"b\.tif do not lie on the grid of .*a\.tif"),
        ({"pixel": (20, 20)}, ("B4", "B8"), r"b\.tif do not lie on the grid of .*a\.tif"),
        ({"crs": "EPSG:32634"}, ("B4", "B8"), r"b\.tif is in EPSG:32634, .*a\.tif in EPSG:32633"),
        ({}, ("B4", "B11"), "B8 is not among them"),
    ],
    ids=["shifted", "larger", "another CRS", "other bands"],
)
def test_dates_that_cannot_be_joined_are_refused_by_name(
    make_grid: Make, tmp_path: Path, grid: dict[str, Any], names: tuple[str, str], message: str
) -> None:
    pixels = np.full((20, 30, 2), 1000, np.uint16)
    write_raster(tmp_path / "a.tif", pixels, make_grid(), names=("B4", "B8"))
    write_raster(tmp_path / "b.tif", pixels, make_grid(**grid), names=names)
    with pytest.raises(RasterError, match=message):
        opened([f"2024-06-01={tmp_path}/a.tif", f"2024-06-11={tmp_path}/b.tif"], "median", mask="")


def test_what_cannot_be_asked_for_is_refused(make_grid: Make, tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", np.ones((20, 30, 2), np.uint16), make_grid(), names=("x", "y"))
    with pytest.raises(RasterError, match=r"neither the tags nor the name of .*a\.tif say when"):
        open_pictures([str(tmp_path / "a.tif")], PicturePlan(composite="median"))
    with pytest.raises(RecipeError, match="--composite is one of median, mean, ndvi, stack; received best"):
        PicturePlan(composite="best")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="--assets chooses files of a product"):
        open_pictures([str(tmp_path / "a.tif")], PicturePlan(assets=("B02",)))
    sources = [f"2024-06-0{n}={tmp_path}/a.tif" for n in (1, 2)]
    with pytest.raises(RasterError, match="needs red and near infrared"):
        open_dates(open_pictures(sources, PicturePlan()), "ndvi", [Band("x"), Band("y")])


def test_around_dated_places_pixels_are_of_the_nearest_date(
    series: tuple[list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composite, "_AROUND", 3)
    sources, truth = series
    days = [datetime.date(2024, 5, 1).toordinal(), datetime.date(2024, 6, 9).toordinal()]
    scene = opened(sources, "median")
    places = DatedPlaces(np.array([4, 15]), np.array([6, 20]), np.array(days))
    dated = pickle.loads(pickle.dumps(scene.of_dates(places)))
    values, valid = dated.read(ALL)
    composed, shown = scene.read(ALL)
    expected = np.where(shown[..., np.newaxis], composed, np.nan)
    for row, column, order in ((4, 6, (0, 1, 2, 3)), (15, 20, (2, 1, 3, 0))):
        here = np.s_[row - 3 : row + 4, column - 3 : column + 4]
        expected[here] = np.nan
        for number in order:  # the nearest that shows the pixel
            expected[here] = np.where(np.isnan(expected[here]), truth[number][here], expected[here])
    assert np.array_equal(valid, shown)
    np.testing.assert_allclose(values[valid], expected[valid], atol=1e-6)
    part, ok = dated.read(Window(10, 14, 9, 9))
    assert np.array_equal(part[ok], values[10:19, 14:23][ok]) and np.array_equal(ok, valid[10:19, 14:23])
    assert scene.of_dates(None) is scene
    plain = Scene.open(sources[:1], BANDS)
    assert plain.of_dates(places) is plain


def test_one_date_is_itself_and_none_is_not_a_number() -> None:
    values = np.array([[[[0.1, 0.3]], [[np.nan, np.nan]]]], np.float32)
    for how in ("median", "mean", "ndvi"):
        made = compose(values, how, 0, 1)
        np.testing.assert_array_equal(made, values[0])


def test_of_reflectance_below_zero_the_greenest_date_is_the_greenest() -> None:
    """Red and near infrared of water and shadow are often a little below 0; their quotient may be anything."""
    green, both, one, cloud = np.array([[0.05, 0.4], [-0.001, -0.06], [0.03, -0.029], [np.nan, np.nan]], np.float32)
    for dates, best in (
        ((cloud, both, green), green),
        ((one, green), green),
        ((cloud, one), one),
        ((cloud, both), both),
    ):
        made = compose(np.stack(dates)[:, np.newaxis, np.newaxis], "ndvi", 0, 1)
        np.testing.assert_array_equal(made[0, 0], best)


def test_all_dates_keep_their_files_open_together(series: tuple[list[str], np.ndarray]) -> None:
    scene = opened(series[0], "median")
    for one in (scene, pickle.loads(pickle.dumps(scene)), scene.reading(BANDS)):
        assert isinstance(one, composite.Composite)
        assert {dated.scene.reader for dated in one._dates} == {one.reader}


def test_dates_of_other_ground_are_no_further_bands(make_grid: Make, tmp_path: Path) -> None:
    for name, corner in (("a", 500000), ("b", 500100)):
        grid = make_grid(corner=(corner, 5000000))
        write_raster(tmp_path / f"{name}.tif", np.ones((20, 30, 2), np.uint16), grid, names=("B4", "B8"))
    pictures = open_pictures([f"2024-06-0{n}={tmp_path}/{name}.tif" for n, name in ((1, "a"), (2, "b"))], PicturePlan())
    message = r"b\.tif of 2024-06-02 is x 500100 to .*a\.tif of 2024-06-01 x 500000 to .*gdalwarp -te"
    with pytest.raises(RasterError, match=message):
        describe_pictures(pictures, "stack")
    with pytest.raises(RasterError, match=message):
        open_dates(pictures, "stack", [Band("x")])
