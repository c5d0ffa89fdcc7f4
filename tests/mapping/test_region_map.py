import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image

from fewshot.errors import (
    ArtifactError,
    DataNotFoundError,
    FewshotError,
    ManifestError,
    RasterError,
    RecipeError,
)
from fewshot.mapping.examples import LabelPlan
from fewshot.mapping.groups import Job
from fewshot.mapping.layout import WindowPlan
from fewshot.mapping.pipeline import Save, run_here
from fewshot.mapping.scene import open_scene
from tests.mapping import fakes
from tests.mapping.conftest import Case, read, run, values_of
from tests.mapping.fakes import PATCH, PIXEL, FakeClass, FakePredictor, draw_points, grid_of, write_points, write_scene

FILES = {"map.tif", "map_confidence.tif", "map.tif.aux.xml", "map.qml", "map.png", "map.json"}


def output(folder: Path) -> Path:
    return folder / "out" / "map.tif"


def made_files(folder: Path) -> set[str]:
    """Names in the folder of the map, hidden ones too."""
    return {path.name for path in (folder / "out").iterdir()}


@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_a_few_points_become_a_map(case: Case, tmp_path: Path, card: Any) -> None:
    seen: list[tuple[int, int]] = []
    report = run(
        case.request(output(tmp_path)), FakePredictor(card), progress=lambda done, total: seen.append((done, total))
    )
    assert made_files(tmp_path) == FILES
    assert {path.name for path in report.files} == FILES and report.files[-1] == output(tmp_path)
    assert report.table.names == tuple(sorted(fakes.CLASSES))
    assert sum(report.shares.values()) == pytest.approx(1)
    assert report.support_loss == (2.0, 0.5)
    assert seen[0] == (0, seen[-1][1]) and seen[-1][0] == seen[-1][1]
    has_data = case.pixels.any(axis=-1)
    found = read(output(tmp_path))
    right = (found == values_of(case.truth))[has_data].mean()
    assert right > (0.99 if card is PIXEL else 0.65)
    assert np.all(found[~has_data] == 0)


def test_the_map_is_a_cloud_optimized_geotiff_on_the_scenes_grid(
    make_case: Callable[..., Case], tmp_path: Path
) -> None:
    case = make_case(700, 530, pixel=(23.6, 29.5), degrees=20, empty=np.s_[:100, :90])
    report = run(case.request(output(tmp_path), probabilities=True))
    for path in report.files:
        if path.suffix == ".tif":
            with rasterio.open(path) as raster, rasterio.open(case.scene) as scene:
                assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert raster.profile["tiled"] and raster.overviews(1) == [2]
                assert raster.transform == scene.transform and raster.crs == scene.crs
                assert raster.shape == scene.shape and raster.bounds == scene.bounds
                assert "every pixel" in raster.tags()["RESOLUTION"]
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.dtypes == ("uint8",) and raster.nodata == 0
        assert np.array_equal(raster.read_masks(1) > 0, case.pixels.any(axis=-1))
        assert raster.colormap(1)[2][:3] == report.table.classes[1].colour
        assert raster.tags()["CLASS_2"] == "town"
        # Overviews show classes that are there, not means of their numbers.
        small = raster.read(1, out_shape=(350, 265))
        assert set(np.unique(small)) <= {0, 1, 2, 3}
    with rasterio.open(output(tmp_path).with_name("map_confidence.tif")) as raster:
        sure = raster.read(1)
        assert np.array_equal(np.isnan(sure), ~case.pixels.any(axis=-1))
        assert np.nanmin(sure) > 1 / 3 and np.nanmax(sure) <= 1
    with rasterio.open(output(tmp_path).with_name("map_probabilities.tif")) as raster:
        assert raster.descriptions == ("forest", "town", "water")
        every = raster.read()
    assert np.nanmax(np.abs(every.max(axis=0) - sure)) < 1.01e-4
    assert np.array_equal(every.argmax(axis=0)[~np.isnan(sure)] + 1, read(output(tmp_path))[~np.isnan(sure)])


def test_other_programs_know_names_and_colours(case: Case, tmp_path: Path) -> None:
    report = run(case.request(output(tmp_path)))
    rasterio.shutil.copy(output(tmp_path), tmp_path / "copy.vrt", driver="VRT")  # GDAL writes down what it knows
    names = [entry.text for entry in ElementTree.parse(tmp_path / "copy.vrt").iter("Category")]
    assert [name or "" for name in names] == ["", "forest", "town", "water"]
    style = ElementTree.parse(output(tmp_path).with_suffix(".qml")).getroot()
    renderer = style.find("pipe/rasterrenderer")
    assert renderer is not None and renderer.get("type") == "paletted"
    entries = [(e.get("value"), e.get("label"), e.get("color")) for e in renderer.iter("paletteEntry")]
    colours = [f"#{bytes(entry.colour or ()).hex()}" for entry in report.table.classes]
    assert entries == list(zip("123", ("forest", "town", "water"), colours, strict=True))


def test_the_picture_shows_the_map_in_its_colours(case: Case, tmp_path: Path) -> None:
    report = run(case.request(output(tmp_path)))
    with Image.open(output(tmp_path).with_suffix(".png")) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for entry in report.table.classes:
        share = (pixels == np.array(entry.colour)).all(axis=1).mean()
        assert share > 0.02, entry.name


def test_the_report_says_what_was_run(case: Case, tmp_path: Path) -> None:
    run(case.request(output(tmp_path)))
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["scene"]["files"][0]["file"] == str(case.scene)
    assert said["scene"]["bands"] == {"B4": 1, "B8": 2}
    assert said["labels"]["support"] == {"forest": 8, "town": 8, "water": 8}
    assert said["support_loss"] == {"before": 2.0, "after": 0.5}
    assert said["model"]["title"] == "nearest mean"
    assert said["versions"]["fewshot"] and said["seconds"] > 0
    assert said["accuracy"] is None
    pixels = {entry["name"]: entry["pixels"] for entry in said["classes"]}
    values, counts = np.unique(read(output(tmp_path)), return_counts=True)
    assert list(pixels.values()) == counts[values > 0].tolist()
    areas = {entry["name"]: entry["area_m2"] for entry in said["classes"]}
    assert areas == pytest.approx({name: 600 * count for name, count in pixels.items()})
    assert said["nodata"]["pixels"] == counts[0]


def test_patch_models_say_how_fine_their_map_is(case: Case, tmp_path: Path) -> None:
    run(case.request(output(tmp_path), windows=WindowPlan(stride=4)), FakePredictor(PATCH))
    with rasterio.open(output(tmp_path)) as raster:
        said = raster.tags()["RESOLUTION"]
    assert said == "one answer every 4 pixels (120 x 80 m), each from a patch of 8 pixels (240 x 160 m)"


def test_labels_kept_back_say_how_good_the_map_is(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=30)
    report = run(case.request(output(tmp_path), labels=LabelPlan(case.labels, holdout=0.3, apart=6)))
    assert report.accuracy is not None
    assert report.accuracy.overall > 0.95
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    kept, used = said["labels"]["kept_back"], said["labels"]["support"]
    samples = sum(kept["examples"].values())
    assert samples == said["accuracy"]["samples"] and 10 <= samples <= 40
    assert sum(used.values()) + samples + kept["too_near"] == 90
    assert kept["apart_pixels"] == 6
    areas = [entry["estimated_area"]["value"] for entry in said["accuracy"]["classes"]]
    assert sum(areas) == pytest.approx(200 * 160 * 600)


def test_other_labels_say_how_good_the_map_is(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(120, 100)
    truth = write_scene(tmp_path / "truth.tif", values_of(case.truth), case.grid, names=(), nodata=None)
    table = tmp_path / "classes.csv"
    table.write_text("id,name\n1,forest\n2,town\n3,water\n", encoding="utf-8")
    plan = LabelPlan(case.labels, validation=truth)
    report = run(case.request(output(tmp_path), labels=plan, classes=table))
    assert report.accuracy is not None
    near = 24 * 9  # each support point labels its neighbours too
    assert sum(map(sum, report.accuracy.confusion)) in range(120 * 100 - near, 120 * 100 - near + 60)
    exact = (read(output(tmp_path)) == values_of(case.truth)).mean()
    assert report.accuracy.overall == pytest.approx(exact, abs=0.01)
    points = write_points(tmp_path / "more.gpkg", case.grid, draw_points(case.truth, 10, seed=5))
    report = run(case.request(output(tmp_path), labels=LabelPlan(case.labels, validation=points)))
    assert report.accuracy is not None and 20 < sum(map(sum, report.accuracy.confusion)) <= 30


def test_an_adapted_model_maps_the_next_scene_without_labels(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case, other = make_case(name="may"), make_case(75, 110, name="june", each=0)
    model = FakePredictor()
    run(case.request(tmp_path / "may.tif", save_adapted=tmp_path / "kept" / "mine.npz"), model)
    report = run(other.request(output(tmp_path), adapted=tmp_path / "kept" / "mine.npz"))
    assert report.table.names == ("forest", "town", "water")
    assert (read(output(tmp_path)) == values_of(other.truth)).mean() > 0.99
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["labels"] == {"adapted_before": str(tmp_path / "kept" / "mine.npz")}
    stranger = FakePredictor(replace(PIXEL, adapted=fakes.FakeLayout(78)))
    with pytest.raises(ArtifactError, match="another model"):
        run(other.request(output(tmp_path), adapted=tmp_path / "kept" / "mine.npz"), stranger)
    with pytest.raises(ArtifactError, match="not an adapted model"):
        run(other.request(output(tmp_path), adapted=case.scene))


def test_classes_of_the_model_are_kept(case: Case, tmp_path: Path) -> None:
    """With a global label space the map has the model's classes, numbers and colours."""
    classes = tuple(FakeClass(name, f"#0000{i:02x}") for i, name in enumerate(("snow", "water", "forest", "town"), 1))
    card = replace(PIXEL, label_space="global", classes=classes)
    report = run(case.request(output(tmp_path)), FakePredictor(card))
    assert report.table.names == ("snow", "water", "forest", "town")
    assert report.shares["snow"] == 0
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.colormap(1)[4] == (0, 0, 4, 255)
        assert set(np.unique(raster.read(1))) == {0, 2, 3, 4}
    strange = replace(card, classes=classes[:3])
    with pytest.raises(ManifestError, match="town"):
        run(case.request(output(tmp_path)), FakePredictor(strange))


def test_numbers_of_a_label_raster_are_those_of_the_map(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    ids = np.array([7, 0, 41], np.uint8)[case.truth]
    sparse = np.where(np.random.default_rng(0).random(ids.shape) < 0.05, ids, 200).astype(np.uint8)
    labels = write_scene(tmp_path / "labels.tif", sparse, case.grid, names=(), nodata=200)
    report = run(case.request(output(tmp_path), labels=LabelPlan(labels)))
    assert report.table.names == ("0", "7", "41")
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.nodata == 255
        assert (raster.read(1) == ids).mean() > 0.99


class Killed(BaseException):
    """As a process that is killed: nobody catches it."""


def stop_after(count: int, model: FakePredictor) -> Any:
    """An engine that is killed after some groups."""

    def engine(job: Job, groups: Any, save: Save) -> None:
        left = iter(range(count))

        def counted(group: int, parts: Any) -> None:
            if next(left, None) is None:
                raise Killed
            save(group, parts)

        run_here(model)(job, groups, counted)

    return engine


@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_a_killed_map_goes_on_and_is_the_same_to_the_bit(
    case: Case, tmp_path: Path, card: Any, small_groups: None
) -> None:
    windows = WindowPlan(size=16, overlap=5) if card is PIXEL else WindowPlan(stride=2)
    request = case.request(output(tmp_path), probabilities=True, windows=windows)
    model = FakePredictor(card)
    run(request, model)
    tifs = ("map.tif", "map_confidence.tif", "map_probabilities.tif")
    whole = {name: (tmp_path / "out" / name).read_bytes() for name in tifs}
    calls = len(model.calls)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    with pytest.raises(Killed):
        run(request, FakePredictor(card), engine=stop_after(3, FakePredictor(card)))
    assert made_files(tmp_path) == {".map.tif.work"}
    # Killed as it wrote, too: a file that is not whole.
    work = tmp_path / "out" / ".map.tif.work" / "groups"
    done = sorted(work.glob("*.npz"))
    (work / ".partial-ab-9.npz").write_bytes(b"half")
    done[-1].write_bytes(done[-1].read_bytes()[:100])
    resumed = FakePredictor(card)
    seen: list[int] = []
    run(replace(request, resume=True), resumed, progress=lambda done, total: seen.append(done))
    assert seen[0] == len(done) - 1
    assert 0 < len(resumed.calls) < calls
    assert {name: (tmp_path / "out" / name).read_bytes() for name in tifs} == whole
    assert made_files(tmp_path) == FILES | {"map_probabilities.tif"}


def test_a_map_killed_as_it_is_put_together_goes_on(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = case.request(output(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("fewshot.mapping.region_map.write_style", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(request)
    assert made_files(tmp_path) == {".map.tif.work"}
    model = FakePredictor()
    run(replace(request, resume=True), model)
    assert made_files(tmp_path) == FILES and not model.calls


def test_only_the_same_map_is_resumed(case: Case, tmp_path: Path, small_groups: None) -> None:
    request = case.request(output(tmp_path))
    with pytest.raises(ArtifactError, match="nothing to resume"):
        run(replace(request, resume=True))
    with pytest.raises(Killed):
        run(request, engine=stop_after(1, FakePredictor()))
    with pytest.raises(ArtifactError, match="of another map: windows was"):
        run(replace(request, resume=True, windows=WindowPlan(size=16)))
    with pytest.raises(ArtifactError, match="probabilities was False, is True"):
        run(replace(request, resume=True, probabilities=True))
    write_scene(case.scene, case.pixels, case.grid)
    with pytest.raises(ArtifactError, match="of another map: scene was"):
        run(replace(request, resume=True))
    run(request)  # begins anew
    assert made_files(tmp_path) == FILES


def test_a_server_that_goes_away_stops_the_map_and_lets_it_go_on(
    case: Case, tmp_path: Path, small_groups: None
) -> None:
    request = case.request(output(tmp_path), windows=WindowPlan(size=16, overlap=4))
    with pytest.raises(ArtifactError, match=r"the server is gone\. \d finished blocks are kept; go on with --resume"):
        run(request, FakePredictor(fail_after=4))
    assert made_files(tmp_path) == {".map.tif.work"}
    run(replace(request, resume=True))
    assert made_files(tmp_path) == FILES


def test_a_full_disk_stops_the_map_and_lets_it_go_on(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_groups: None
) -> None:
    import errno
    import os

    request = case.request(output(tmp_path), windows=WindowPlan(size=16, overlap=4))
    saves = iter(range(3))  # the adapted model is one

    def full(file: Any, **arrays: Any) -> None:
        if next(saves, None) is None:
            file.write(b"as much as fits")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, **arrays)

    real = np.savez
    with monkeypatch.context() as patch:
        patch.setattr("fewshot.mapping.work.np.savez", full)
        with pytest.raises(ArtifactError, match=r"is full \(\d+ MB free\).*--resume"):
            run(request)
    left = sorted(path.name for path in (tmp_path / "out" / ".map.tif.work" / "groups").iterdir())
    assert len(left) == 2 and all(name.endswith(".npz") for name in left)
    run(replace(request, resume=True))
    assert made_files(tmp_path) == FILES


def test_a_disk_that_is_full_in_the_end_is_said_too(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    request = case.request(output(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("fewshot.mapping.region_map.draw_map", full)
        with pytest.raises(ArtifactError, match=r"is full.*--resume"):
            run(request)
    assert made_files(tmp_path) == {".map.tif.work"}
    run(replace(request, resume=True))
    assert made_files(tmp_path) == FILES


def test_validation_labels_that_are_not_there_are_missed_before_anything_is_mapped(case: Case, tmp_path: Path) -> None:
    model = FakePredictor()
    with pytest.raises(DataNotFoundError, match="truth"):
        run(case.request(output(tmp_path), labels=LabelPlan(case.labels, validation=tmp_path / "truth.tif")), model)
    assert not model.calls


def test_a_place_that_cannot_be_written_to_is_said(case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(ArtifactError, match="cannot be written to"):
        run(case.request(tmp_path / "file" / "map.tif"))
    with pytest.raises(RecipeError, match=r"name it with \.tif"):
        case.request(tmp_path / "map.png")
    with pytest.raises(RecipeError, match="--labels and --adapted"):
        case.request(tmp_path / "map.tif", labels=None)


# Scenes as they come.


@pytest.mark.parametrize("size", [(1, 60), (60, 1), (3, 5), (1, 2), (31, 33)])
@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_scenes_smaller_than_a_window_are_mapped(
    make_case: Callable[..., Case], tmp_path: Path, size: tuple[int, int], card: Any
) -> None:
    case = make_case(*size, each=0)
    truth = np.zeros(size, np.int64)
    truth.flat[: truth.size // 2] = 1
    write_scene(case.scene, fakes.SPECTRA[truth].astype(np.uint16), case.grid)
    points = [(0, 0, "forest"), (size[0] - 1, size[1] - 1, "water")]
    write_points(case.labels, case.grid, points)
    windows = WindowPlan(stride=1) if card is PATCH else WindowPlan()
    run(case.request(output(tmp_path), windows=windows), FakePredictor(card))
    found = read(output(tmp_path))
    assert found.shape == size and found.min() > 0
    if card is PIXEL or max(size) > 30:
        assert found[0, 0] == 1 and found[-1, -1] == 2
    if card is PIXEL:
        assert np.array_equal(found == 1, truth == 1)


@pytest.mark.parametrize("degrees", [0, 33, 90])
def test_rotated_scenes_with_oblong_pixels_keep_their_place(
    make_case: Callable[..., Case], tmp_path: Path, degrees: float
) -> None:
    case = make_case(60, 50, degrees=degrees, pixel=(11, 47))
    run(case.request(output(tmp_path)))
    with rasterio.open(output(tmp_path)) as raster:
        assert np.allclose(raster.transform, case.grid.transform, rtol=0, atol=1e-9)
        assert (raster.read(1) == values_of(case.truth)).mean() > 0.99
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert sum(entry["area_m2"] for entry in said["classes"]) == pytest.approx(60 * 50 * 11 * 47)


def test_scenes_across_the_antimeridian_are_mapped(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(60, 80, crs="EPSG:4326", corner=(179.6, -16), pixel=(0.01, 0.01), each=0)
    points = [(row, column, name) for row, column, name in draw_points(case.truth, 8)]
    assert {column > 40 for _, column, _ in points} == {True, False}
    # Labels name longitudes beyond 180 degrees as they are: -179.9 is 180.1.
    import geopandas
    import shapely

    rows, columns = (np.array([point[axis] for point in points]) + 0.5 for axis in (0, 1))
    x, y = case.grid.to_map(rows, columns)
    shapes = shapely.points(np.where(x > 180, x - 360, x), y)
    geopandas.GeoDataFrame({"class": [p[2] for p in points]}, geometry=shapes, crs=4326).to_file(case.labels)
    run(case.request(output(tmp_path)))
    assert (read(output(tmp_path)) == values_of(case.truth)).mean() > 0.99
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["labels"]["outside"] == 0
    degree = 111_195.0
    expected = 60 * 80 * (0.01 * degree) ** 2 * np.cos(np.radians(16.3))
    assert sum(entry["area_m2"] for entry in said["classes"]) == pytest.approx(expected, rel=1e-3)


def test_not_a_number_is_no_data(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(60, 50)
    pixels = case.pixels.astype(np.float32)
    pixels[10:20, 10:30, 0] = np.nan
    pixels[40, 3, 1] = np.inf
    write_scene(case.scene, pixels, case.grid, nodata=None)
    run(case.request(output(tmp_path)))
    empty = ~np.isfinite(pixels).all(axis=-1)
    assert np.array_equal(read(output(tmp_path)) == 0, empty)


def test_a_scene_without_a_crs(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case, bare = make_case(name="may"), make_case(name="bare", crs=None)
    with pytest.raises(RasterError, match="names no CRS.*rio edit-info"):
        run(bare.request(output(tmp_path), labels=LabelPlan(case.labels)))
    run(case.request(tmp_path / "may.tif", save_adapted=tmp_path / "mine.npz"))
    report = run(bare.request(output(tmp_path), adapted=tmp_path / "mine.npz"))
    assert any("names no CRS, so neither does the map" in note for note in report.notes)
    with rasterio.open(output(tmp_path)) as raster:
        assert raster.crs is None


def test_a_scene_without_data(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(name="may")
    empty = write_scene(tmp_path / "empty.tif", np.zeros_like(case.pixels), case.grid)
    with pytest.raises(RasterError, match=r"no label of .* is left that counts\. .* 24 labelled pixels lie where"):
        run(case.request(output(tmp_path), scenes=(str(empty),)))
    run(case.request(tmp_path / "may.tif", save_adapted=tmp_path / "mine.npz"))
    with pytest.raises(RasterError, match="no pixel with data"):
        run(case.request(output(tmp_path), scenes=(str(empty),), adapted=tmp_path / "mine.npz"))
    assert made_files(tmp_path) <= {".map.tif.work"}


@pytest.mark.parametrize(
    ("worth", "changed", "message"),
    [
        (1e-4, {}, "They look like reflectance 0-1 already: say scale = 1"),
        (1.0, {"scale": 1.0}, "They look like reflectance x 10000"),
    ],
)
def test_values_in_another_unit_are_refused(
    make_case: Callable[..., Case], tmp_path: Path, worth: float, changed: dict[str, Any], message: str
) -> None:
    case = make_case()
    write_scene(case.scene, (case.pixels * worth).astype(np.float32), case.grid, nodata=None)
    with pytest.raises(RasterError, match=message):
        run(case.request(output(tmp_path), **changed))


@pytest.mark.parametrize(("stated", "scale"), [(None, 1.0), (1e-3, None)])
def test_the_scale_of_the_file_or_the_user_is_kept_to(
    make_case: Callable[..., Case], tmp_path: Path, stated: float | None, scale: float | None
) -> None:
    """Reflectance 0-1 given to a model that expects 0-10,000, with its scale said."""
    case = make_case()
    worth = 1e-4 / (stated or 1)
    pixels = (case.pixels * worth).astype(np.float32)
    write_scene(case.scene, pixels, case.grid, nodata=None, **({"scale": stated} if stated else {}))
    run(case.request(output(tmp_path), scale=scale))
    assert (read(output(tmp_path)) == values_of(case.truth)).mean() > 0.99


def test_bands_are_found_by_name_number_or_not_at_all(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case()
    swapped = np.concatenate([case.pixels[..., ::-1], case.pixels[..., :1]], axis=-1)
    write_scene(case.scene, swapped, case.grid, names=("B08", "B04", "B11"))
    run(case.request(output(tmp_path)))
    expected = read(output(tmp_path))
    assert (expected == values_of(case.truth)).mean() > 0.99
    write_scene(case.scene, swapped, case.grid, names=())
    for bands in ((2, 1), ("nir", "B4", "x")):
        if bands[0] == "nir":
            with pytest.raises(RasterError, match="B8 is not among them"):
                run(case.request(output(tmp_path), bands=bands))
            bands = ("B8", "B4", "x")
        run(case.request(output(tmp_path), bands=bands))
        assert np.array_equal(read(output(tmp_path)), expected)
    with pytest.raises(RasterError, match="has 3 bands without descriptions; expected 2"):
        run(case.request(output(tmp_path)))


def test_several_files_are_one_scene(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(90, 70, empty=np.s_[:20, :15])
    run(case.request(output(tmp_path)))
    expected = read(output(tmp_path))
    parts = []
    for number, here in enumerate((np.s_[:50, :40], np.s_[:50, 40:], np.s_[45:, :])):
        row, column = here[0].start or 0, here[1].start or 0
        height, width = case.pixels[here].shape[:2]
        corner = case.grid.to_map(row, column)
        grid = grid_of(height, width, corner=corner)
        parts.append(str(write_scene(tmp_path / f"part{number}.tif", case.pixels[here], grid)))
    run(case.request(output(tmp_path), scenes=tuple(parts)))
    assert np.array_equal(read(output(tmp_path)), expected)
    singles = []
    for layer, name in enumerate(("B4", "B8")):
        path = tmp_path / f"scene_{name}.tif"
        singles.append(str(write_scene(path, case.pixels[..., layer], case.grid, names=())))
    run(case.request(output(tmp_path), scenes=tuple(singles[::-1])))
    assert np.array_equal(read(output(tmp_path)), expected)


# Labels as they come.


def test_labels_that_do_not_count_are_counted(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(empty=np.s_[:20, :15])
    points: list[tuple[int, int, Any]] = [*draw_points(np.where(case.pixels.any(axis=-1), case.truth, -1), 6)]
    twice = points[0]
    points += [(5, 5, "town"), (500, 5, "town"), (twice[0], twice[1], "forest"), (60, 60, None), (70, 33, "lava")]
    labels = write_points(tmp_path / "labels.gpkg", case.grid, points, crs="EPSG:4326")
    report = run(case.request(output(tmp_path), labels=LabelPlan(labels)))
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]
    assert (said["features"], said["outside"], said["unusable"], said["on_nodata"]) == (23, 1, 1, 1)
    assert said["contradicting"] == 1
    assert said["only_one_example_of"] == ["lava"]
    assert said["support"] == {"forest": 6, "lava": 1, "town": 6, "water": 5}
    notes = " ".join(report.notes)
    for word in ("1 of 23 features lie outside", "1 labelled pixels lie where", "different classes", "lava"):
        assert word in notes


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp"])
def test_polygons_label_what_they_hold(make_case: Callable[..., Case], tmp_path: Path, ending: str) -> None:
    import geopandas
    import shapely

    case = make_case(60, 60, each=0)
    squares = [(shapely.box(12 * j + 1, 12 * i + 1, 12 * j + 11, 12 * i + 11), i, j) for i in (1, 3) for j in range(5)]

    def to_map(columns_rows: np.ndarray) -> np.ndarray:
        return np.stack(case.grid.to_map(columns_rows[:, 1], columns_rows[:, 0]), axis=1)

    shapes = [shapely.transform(square, to_map) for square, _, _ in squares]
    names = [fakes.CLASSES[case.truth[12 * i + 6, 12 * j + 6]] for _, i, j in squares]
    labels = tmp_path / f"areas.{ending}"
    frame = geopandas.GeoDataFrame({"kind": names}, geometry=shapes, crs=case.grid.crs)
    (frame.to_crs(4326) if ending == "geojson" else frame).to_file(labels)
    request = case.request(output(tmp_path), labels=LabelPlan(labels, "kind"))
    for card, most in ((PIXEL, 200), (PATCH, 60)):
        run(request, FakePredictor(card))
        said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]
        assert 10 < sum(said["support"].values()) <= most and said["features"] == 10
    with pytest.raises(RecipeError, match="has the fields kind; expected 'colour'"):
        run(case.request(output(tmp_path), labels=LabelPlan(labels, "colour")))


def test_labels_of_which_nothing_is_left_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(empty=np.s_[:20, :15])
    away = write_points(tmp_path / "away.gpkg", case.grid, [(900, 5, "town"), (5, 900, "water")])
    with pytest.raises(RasterError, match="none of the 2 features .* lies in"):
        run(case.request(output(tmp_path), labels=LabelPlan(away)))
    one = write_points(tmp_path / "one.gpkg", case.grid, [(40, 5, "town"), (50, 30, "town")])
    with pytest.raises(RasterError, match="shows one class alone, town"):
        run(case.request(output(tmp_path), labels=LabelPlan(one)))
    bare = tmp_path / "bare.gpkg"
    import geopandas
    import shapely

    geopandas.GeoDataFrame({"class": ["a"]}, geometry=[shapely.Point(5, 5)]).to_file(bare)
    with pytest.raises(RasterError, match="names no CRS.*ogr2ogr"):
        run(case.request(output(tmp_path), labels=LabelPlan(bare)))
    with pytest.raises(DataNotFoundError):
        run(case.request(output(tmp_path), labels=LabelPlan(tmp_path / "none.gpkg")))
    assert not (tmp_path / "out").exists() or made_files(tmp_path) <= {".map.tif.work"}


def test_labels_that_cannot_be_kept_back_are_refused(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(each=1)
    with pytest.raises(RasterError, match="can be kept back for validation.*--validation"):
        run(case.request(output(tmp_path), labels=LabelPlan(case.labels, holdout=0.3)))
    with pytest.raises(RecipeError, match="--holdout"):
        LabelPlan(case.labels, holdout=1.5)


def test_a_transductive_model_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="transductive"):
        run(case.request(output(tmp_path)), FakePredictor(replace(PIXEL, transductive=True)))


def test_a_model_takes_so_many_examples(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(each=30)
    card = replace(PATCH, limits=fakes.FakeLimits(examples=20, classes=3))
    report = run(case.request(output(tmp_path)), FakePredictor(card))
    said = json.loads(output(tmp_path).with_suffix(".json").read_text(encoding="utf-8"))["labels"]["support"]
    assert said == {"forest": 6, "town": 6, "water": 6}
    assert any("18 of 90 labelled pixels are shown" in note for note in report.notes)
    with pytest.raises(RasterError, match="shows 3 classes; the model takes 2"):
        run(case.request(output(tmp_path)), FakePredictor(replace(card, limits=fakes.FakeLimits(20, 2))))


def test_values_are_sent_as_the_card_describes_them(make_case: Callable[..., Case]) -> None:
    """A model of 8-bit pictures is sent whole numbers 0-255; one of reflectance x 10^4 what the file holds."""
    case = make_case()
    sent, _ = open_scene([case.scene], PIXEL).read(open_window(case))
    np.testing.assert_allclose(sent, case.pixels, rtol=1e-5)
    bands = tuple(fakes.FakeBand(name, 1 / 255, 0.0, "brightness 0-1") for name in ("B4", "B8"))
    eight = (case.pixels // 20).astype(np.uint8)
    write_scene(case.scene, eight, case.grid)
    sent, valid = open_scene([case.scene], replace(PIXEL, bands=bands, value_type="uint8")).read(open_window(case))
    assert np.array_equal(sent, eight) and valid.all()


def open_window(case: Case) -> Any:
    from fewshot.geo.windows import Window

    return Window(0, 0, *case.truth.shape)


def test_every_problem_is_one_of_ours(case: Case, tmp_path: Path) -> None:
    with pytest.raises(FewshotError, match="no raster"):
        run(case.request(output(tmp_path), scenes=(str(tmp_path / "none.tif"),)))
