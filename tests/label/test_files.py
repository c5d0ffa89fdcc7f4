"""Labels come in and go out as files, whatever the scene's grid, and contradictions are found."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import shapely

from fewshot.errors import DamagedDataError, RasterError, RecipeError
from fewshot.geo.composing import Composing, PicturePlan
from fewshot.geo.pictures import open_pictures
from fewshot.geo.showing import open_numbers
from fewshot.geo.vectors import write_features
from fewshot.geo.windows import Window
from fewshot.label.desk import EXPORTS, Desk
from fewshot.label.edits import apply_steps
from fewshot.label.files import read_new_labels, table_of_labels, write_labels
from fewshot.label.pictures import Look, ScenePictures
from fewshot.label.shapes import contradictions, shapes_of
from fewshot.label.state import ProjectState
from fewshot.label.suggest import suggest_places
from fewshot.mapping import PreviewPart
from tests.label.conftest import add_class, add_point
from tests.mapping import fakes

SINUSOIDAL = "+proj=sinu +R=6371007.181"  # MODIS's, which EPSG does not list
RING = [[[4.2, 4.2], [20.1, 4.2], [20.1, 22.7], [4.2, 4.2]], [[15.0, 6.0], [17.0, 6.0], [17.0, 8.0], [15.0, 6.0]]]


def draw(name: str, number: int, kind: str, coordinates: Any, width: float = 0) -> dict[str, Any]:
    return {
        **{"op": "add_label", "id": name, "class": f"c{number}", "kind": kind},
        **{"coordinates": coordinates, "width": width},
    }


def shown(sources: Sequence[str | Path], how: Composing = "") -> ScenePictures:
    return ScenePictures(*open_numbers(open_pictures(sources, PicturePlan(composite=how)), how))


@pytest.fixture
def state() -> ProjectState:
    """A label of each kind, of two classes."""
    labels = [
        add_point("point", 0, 30.5, 40.25),
        draw("polygon", 1, "polygon", RING),
        draw("line", 0, "line", [[40, 50], [60.5, 55]]),
        draw("brush", 1, "brush", [[10, 60], [12, 70], [20, 70]], 5),
        draw("spot", 1, "brush", [[50, 80]], 6),
    ]
    return apply_steps(ProjectState(), [[add_class("Wald, tief", 0), add_class('"Ähre"', 1), *labels]])


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
@pytest.mark.parametrize("placed", [{}, {"degrees": 25}, {"degrees": 25, "crs": None}, {"crs": SINUSOIDAL}])
@pytest.mark.parametrize("ending", [".gpkg", ".geojson"])
def test_labels_that_go_out_come_in_as_they_were(
    tmp_path: Path, state: ProjectState, ending: str, placed: dict[str, Any]
) -> None:
    grid = fakes.grid_of(90, 70, **placed)
    path = tmp_path / f"labels{ending}"
    write_labels(path, state, grid)
    classes = apply_steps(ProjectState(), [[add_class("wald, tief", 5)]])
    found = apply_steps(classes, [read_new_labels(path, classes, grid)])
    assert [own.name for own in found.classes.values()] == ["wald, tief", '"Ähre"']
    assert [label.kind for label in found.labels.values()] == ["point", "polygon", "line", "polygon", "polygon"]
    own, again = (shapes_of(list(one.labels.values())) for one in (state, found))
    assert shapely.hausdorff_distance(own, again).max() < 1e-6


def test_exports_are_of_the_scenes_crs_and_come_by_name(page: httpx.Client, desk: Desk, tmp_path: Path) -> None:
    desk.edit([add_class("a", 0), add_point("l0", 0, 3.5, 4.5)])
    for name in EXPORTS:
        answer = page.get(f"/api/export/{name}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        (tmp_path / name).write_bytes(answer.content)
        edits = read_new_labels(tmp_path / name, ProjectState(), desk.pictures.info.grid)
        assert edits[1]["coordinates"] == pytest.approx([3.5, 4.5], abs=1e-6)
    assert not list((desk.plan.folder / "uploads").iterdir())


def test_a_file_that_comes_in_is_one_step(page: httpx.Client, desk: Desk, state: ProjectState, tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.gpkg", state, desk.pictures.info.grid)
    content = (tmp_path / "labels.gpkg").read_bytes()
    found = page.post("/api/import", params={"name": "../../labels.gpkg"}, content=content).json()
    assert (len(found["classes"]), len(found["labels"]), found["revision"]) == (2, 5, 1)
    again = page.post("/api/import", params={"name": "labels.gpkg", "sent": "i"}, content=content).json()
    twice = page.post("/api/import", params={"name": "labels.gpkg", "sent": "i"}, content=content).json()
    assert (len(again["labels"]), again) == (10, twice)
    assert page.post("/api/undo", json={}).json()["labels"] == found["labels"]
    assert page.post("/api/undo", json={}).json()["classes"] == []
    assert not list((desk.plan.folder / "uploads").iterdir())
    for name, content in (("labels.exe", b"x"), ("labels.gpkg", b"x"), ("labels.csv", b"a,b\n1,2\n"), ("x.csv", b"")):
        assert page.post("/api/import", params={"name": name}, content=content).status_code == 400


def test_a_table_of_places(tmp_path: Path) -> None:
    grid, path = fakes.grid_of(90, 70), tmp_path / "places.csv"
    path.write_text("x,y,class\n500030,4999985,Water\n500050,4999985,Forest\n9,9,Water\n500050,4999985,\n")
    edits = read_new_labels(path, ProjectState(), grid)
    assert [edit.get("name") for edit in edits[:2]] == ["Water", "Forest"]
    assert [edit["coordinates"] for edit in edits[2:]] == [pytest.approx([1.5, 0.5]), pytest.approx([2.5, 0.5])]
    path.write_text("column,row,class\n1,2,Water\n")
    assert read_new_labels(path, ProjectState(), fakes.grid_of(9, 9, crs=None))[1]["coordinates"] == [1, 2]
    path.write_text("column,row,class\n100,2,Water\n")
    with pytest.raises(DamagedDataError, match="none of the 1 places"):
        read_new_labels(path, ProjectState(), grid)
    with pytest.raises(RecipeError, match=r"labels come as"):
        read_new_labels(tmp_path / "map.tif", ProjectState(), grid)
    with pytest.raises(RasterError, match="the scene names no CRS, and .* is in EPSG:32633"):
        write_labels(
            tmp_path / "l.gpkg", apply_steps(ProjectState(), [[add_class("a", 0), add_point("l", 0, 1, 1)]]), grid
        )
        read_new_labels(tmp_path / "l.gpkg", ProjectState(), fakes.grid_of(9, 9, crs=None))


@pytest.mark.parametrize(
    ("one", "other", "claimed"),
    [
        (add_point("a", 0, 3.1, 4.9), add_point("b", 1, 3.9, 4.1), True),
        (add_point("a", 0, 3.1, 4.9), add_point("b", 1, 4.1, 4.9), False),
        (add_point("a", 0, 3.1, 4.9), add_point("b", 0, 3.9, 4.1), False),
        (add_point("a", 0, 3.1, 4.9), draw("b", 1, "polygon", [[[0, 0], [9, 0], [9, 9], [0, 9]]]), True),
        (add_point("a", 0, 16.5, 6.5), draw("b", 1, "polygon", RING), False),
        (
            draw("a", 0, "polygon", [[[0, 0], [9, 0], [9, 9], [0, 9]]]),
            draw("b", 1, "polygon", [[[9, 0], [18, 0], [18, 9], [9, 9]]]),
            False,
        ),
        (
            draw("a", 0, "polygon", [[[0, 0], [9, 0], [9, 9], [0, 9]]]),
            draw("b", 1, "polygon", [[[8.3, 0], [18, 0], [18, 9], [8.3, 9]]]),
            True,
        ),
        (draw("a", 0, "line", [[0, 0], [9, 9]]), draw("b", 1, "line", [[0, 9], [9, 0]]), True),
        (draw("a", 0, "brush", [[0, 4], [9, 4]], 3), draw("b", 1, "line", [[0, 8], [9, 8]]), False),
    ],
)
def test_labels_that_claim_one_pixel_for_two_classes(one: Any, other: Any, *, claimed: bool) -> None:
    state = apply_steps(ProjectState(), [[add_class("first", 0), add_class("second", 1), one, other]])
    assert contradictions(state) == (("a", "b") if claimed else ())


@pytest.mark.parametrize("changed", [{"degrees": 25}, {"crs": None}, {"crs": "EPSG:4326", "pixel": (1e-4, 1e-4)}])
def test_any_scene_has_tiles(tmp_path: Path, changed: dict[str, Any]) -> None:
    corner = {"corner": (10.0, 50.0)} if changed.get("crs") == "EPSG:4326" else {}
    pixels = fakes.draw_pixels(fakes.draw_truth(300, 520))
    path = fakes.write_scene(tmp_path / "scene.tif", pixels, fakes.grid_of(300, 520, **changed, **corner))
    pictures = shown([path])
    assert pictures.levels == 3
    first = pictures.tile(0, 0, 0, pictures.usual_look())
    assert first is not None and first[:75, :130, 3].all() and not first[76:, :, 3].any()
    end = pictures.tile(2, 2, 1, pictures.usual_look())
    assert end is not None and end[:44, :8, 3].all() and not end[:, 8:, 3].any()


def extremes(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Least and greatest number of each band, without those that stand for no data."""
    shown = np.ma.masked_equal(pixels, 0)
    return shown.min(axis=(0, 1)).tolist(), shown.max(axis=(0, 1)).tolist()


def test_the_first_levels_come_from_a_small_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = fakes.draw_pixels(fakes.draw_truth(600, 520))
    pixels[:64, :64] = 0
    path = fakes.write_scene(tmp_path / "scene.tif", pixels, fakes.grid_of(600, 520))
    direct = shown([path])
    monkeypatch.setattr("fewshot.label.pictures._SMALL", 160)
    copied = shown([path])
    look = direct.usual_look()
    assert direct.stretches["0"] == [(lowest, highest) for lowest, highest in zip(*extremes(pixels), strict=True)]
    assert list(direct.stretches) == ["0", "1", "2", "5"]
    for whole, sampled in zip(direct.stretch, copied.stretch, strict=True):
        assert sampled == pytest.approx(whole, rel=0.1)
    for level, most in ((0, 3), (1, 1)):
        one, other = direct.tile(level, 0, 0, look), copied.tile(level, 0, 0, look)
        assert one is not None and other is not None
        assert np.array_equal(one[..., 3], other[..., 3])
        # Every second pixel of the copy, or each of them, is a mean of the scene's.
        assert np.abs(one[..., :3].astype(int) - other[..., :3]).mean() < 10 * most
    monkeypatch.setattr(ScenePictures, "read", lambda *asked: pytest.fail("a tile of a first level reads the scene"))
    assert copied.tile(0, 0, 0, look) is not None


def test_places_are_suggested_where_it_is_unsure_and_no_label_is() -> None:
    shape = (80, 80)
    margin = np.full(shape, 0.9, np.float32)
    margin[40:48, 8:16] = 0.1  # where the second class is about as probable
    margin[0:8, 60:68] = 0.2
    margin[60:68, 60:68] = 0.0
    classes = np.zeros(shape, np.int16)
    classes[60:68, 60:68] = -1  # without data
    part = PreviewPart(
        Window(100, 200, 80, 80), 1, classes, np.full(shape, 0.95, np.float32), np.ones(shape, np.int16), margin
    )
    places = suggest_places(part, ["Water", "Forest"], ["c0", "c1"], np.zeros((0, 2)), 2)
    assert [200 + 8 <= place["column"] < 216 and 140 <= place["row"] < 148 for place in places] == [True, False]
    assert places[0]["reason"] == "Water 95% or Forest 85%"
    assert 260 <= places[1]["column"] < 268 and 100 <= places[1]["row"] < 108
    (other, _) = suggest_places(part, ["Water", "Forest"], ["c0", "c1"], np.array([[212.0, 144.0]]), 2)
    assert 260 <= other["column"] < 268


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.geojson", b'<OGRVRTDataSource><OGRVRTLayer name="x"/></OGRVRTDataSource>'),
        ("labels.geojson", b'{"type": "Topology"}'),
        ("labels.gpkg", b'{"type": "FeatureCollection", "features": []}'),
        ("labels.zip", b"PK"),
        ("labels.kml", b"<kml/>"),
        ("labels", b""),
    ],
)
def test_gdal_does_not_choose_how_a_sent_file_is_read(
    page: httpx.Client, desk: Desk, name: str, content: bytes
) -> None:
    for path in ("/api/import", "/api/upload"):
        answer = page.post(path, params={"name": name}, content=content)
        assert answer.status_code == 400 and name in answer.json()["error"]
    assert not list(desk.plan.folder.glob("uploads/*"))


def test_what_is_wrong_with_a_sent_file_is_said_by_its_own_name(page: httpx.Client) -> None:
    sent = {"mine.csv": b"a,b\n1,2\n", "mine.geojson": b'{"type": "FeatureCollection", "features": []}'}
    sent["long.csv"] = b'x,y,class\n1,2,"' + b"a" * 200_000 + b'"\n'
    for name, content in sent.items():
        said = page.post("/api/import", params={"name": name}, content=content)
        assert said.status_code == 400 and name in said.json()["error"] and "uploads" not in said.json()["error"]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_file_that_lies_off_the_earth_is_refused(tmp_path: Path) -> None:
    ring = [[-6086886, -1336541], [-6083556, -1336541], [-6083556, -1334195], [-6086886, -1336541]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    path = tmp_path / "metres.geojson"
    path.write_text(json.dumps({"type": "Feature", "properties": {"class": "a"}, "geometry": polygon}))
    with pytest.raises(RasterError, match=r"metres\.geojson .*the scene"):
        read_new_labels(path, ProjectState(), fakes.grid_of(90, 70, crs=SINUSOIDAL))


def test_the_field_that_holds_the_class_can_be_named(page: httpx.Client, desk: Desk, tmp_path: Path) -> None:
    desk.edit([add_class("a", 0), add_point("l0", 0, 3.5, 4.5)])
    x, y = (float(np.ravel(end)[0]) for end in desk.grid.to_map(4.5, 3.5))
    file = tmp_path / "mine.geojson"
    feature = {"type": "Feature", "properties": {"seen": "b", "year": 7}}
    feature["geometry"] = {"type": "Point", "coordinates": [x, y]}
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    file.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    sent = {"mine.geojson": file.read_bytes(), "mine.csv": b"column,row,seen\n3,4,b\n"}
    for name, content in sent.items():
        refused = page.post("/api/import", params={"name": name}, content=content)
        assert refused.status_code == 400 and "--" not in refused.json()["error"]
        came = page.post("/api/import", params={"name": name, "field": "seen"}, content=content)
        assert came.status_code == 200, came.text
    assert list(desk.log.state.counts.values()) == [1, 2]


def test_spaces_around_and_in_names_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("column,row,class\n1,2,Old  forest \n3,4,Old forest\n")
    state = apply_steps(ProjectState(), [read_new_labels(tmp_path / "a.csv", ProjectState(), fakes.grid_of(9, 9))])
    assert [own.name for own in state.classes.values()] == ["Old forest"]
    shapes = np.array([shapely.Point(1, 2), shapely.Point(3, 4)])
    write_features(tmp_path / "a.gpkg", shapes, fakes.grid_of(9, 9), {"class": ["Old\tforest ", " old forest"]})
    assert len(read_new_labels(tmp_path / "a.gpkg", state, fakes.grid_of(9, 9))) == 2


def test_a_table_keeps_shapes(state: ProjectState, tmp_path: Path) -> None:
    grid = fakes.grid_of(90, 70, degrees=25)
    (tmp_path / "labels.csv").write_text(table_of_labels(state, grid))
    found = apply_steps(ProjectState(), [read_new_labels(tmp_path / "labels.csv", ProjectState(), grid)])
    own, again = (shapes_of(list(one.labels.values())) for one in (state, found))
    assert shapely.hausdorff_distance(own, again).max() < 1e-6


@pytest.mark.parametrize("how", ["", "median", "stack"])
def test_several_dates_are_shown_as_one_scene(tmp_path: Path, how: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.label.pictures._SMALL", 160)
    truth = fakes.draw_truth(300, 300)
    grid, pixels = fakes.grid_of(300, 300), [fakes.draw_pixels(truth, noise) for noise in (50, 90)]
    paths = [fakes.write_scene(tmp_path / f"{number}.tif", own, grid) for number, own in enumerate(pixels)]
    named = [f"2024-05-01={paths[0]}", f"2024-06-01={paths[1]}"]
    pictures = shown(named, how)
    assert (pictures.info.bands, pictures.size) == (4 if how == "stack" else 2, (300, 300))
    look = Look((1,), (0.0,), (4000.0,))
    whole, part = pictures.tile(0, 0, 0, look), pictures.tile(1, 0, 0, look)
    first = pixels[0][..., 0] if how == "stack" else np.mean(pixels, axis=0)[..., 0]
    wanted = np.round(255 * np.clip(first / 4000, 0, 1))
    assert part is not None and np.abs(part[..., 0] - wanted[:256, :256]).max() <= 1
    assert whole is not None and (whole[:150, :150, 3] == 255).all()
    assert np.abs(whole[:150, :150, 0] - wanted.reshape(150, 2, 150, 2).mean(axis=(1, 3))).mean() < 1


def test_a_closed_scene_is_read_no_further(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read = ScenePictures.read

    def wait(*asked: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return read(*asked)

    monkeypatch.setattr(ScenePictures, "read", wait)
    monkeypatch.setattr("fewshot.label.pictures._AT_ONCE", 8)
    pictures = shown([scene])
    assert begun.wait(20)
    pictures.close()
    go_on.set()
    with pytest.raises(CancelledError):
        pictures.usual_look()


def test_first_tiles_wait_for_their_own_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (2100, 530)
    path = fakes.write_scene(tmp_path / "s.tif", fakes.draw_pixels(fakes.draw_truth(*size)), fakes.grid_of(*size))
    go_on, read = threading.Event(), ScenePictures.read

    def wait(pictures: ScenePictures, window: Window, bands: Any, step: int) -> Any:
        if step > 1 and window.row >= 1024:
            go_on.wait(20)
        return read(pictures, window, bands, step)

    monkeypatch.setattr("fewshot.label.pictures._SMALL", 1050)
    whole = shown([path])
    monkeypatch.setattr(ScenePictures, "read", wait)
    pictures = shown([path])
    level, look = pictures.levels - 2, pictures.usual_look()
    assert len(pictures.waited_for(level, 0)) == 1 and len(pictures.waited_for(0, 0)) == 5
    for row in (0, 1):
        np.testing.assert_array_equal(pictures.tile(level, 0, row, look), whole.tile(level, 0, row, look))
    assert not pictures.waited_for(level, 2)[0].done()
    go_on.set()
    for place in [(level, 0, 4), (level - 1, 0, 1), (0, 0, 0)]:
        np.testing.assert_array_equal(pictures.tile(*place, look), whole.tile(*place, look))


def test_a_large_scene_is_shown_before_it_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fakes.write_scene(tmp_path / "s.tif", fakes.draw_pixels(fakes.draw_truth(600, 520)), fakes.grid_of(600, 520))
    go_on, read = threading.Event(), ScenePictures.read

    def wait(pictures: ScenePictures, window: Window, bands: Any, step: int) -> Any:
        if step > 1:
            go_on.wait(20)
        return read(pictures, window, bands, step)

    monkeypatch.setattr(ScenePictures, "read", wait)
    monkeypatch.setattr("fewshot.label.pictures._SMALL", 160)
    pictures = shown([path])
    assert pictures.document()["stretch"] and pictures.tile(2, 0, 0, pictures.usual_look()) is not None
    first = pictures.waited_for(0, 0)
    assert first and not any(strip.done() for strip in first)
    assert pictures.waited_for(2, 0) == pictures.waited_for(9, 0) == pictures.waited_for(0, -1) == ()
    go_on.set()
    assert pictures.tile(0, 0, 0, pictures.usual_look()) is not None
