"""The map follows the labels, and what is newest wins."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot.geo.composing import PicturePlan
from fewshot.geo.windows import Window
from fewshot.label import live
from fewshot.label.desk import Desk
from fewshot.label.frames import Frames
from fewshot.label.live import LiveMap
from fewshot.label.painting import OUTSIDE
from tests.label.conftest import add_class, add_point, labelled
from tests.mapping import fakes

WHOLE = Window(0, 0, 90, 70)


class Heard:
    """Events, and waiting for one of them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()

    def __call__(self, event: dict[str, Any]) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def wait(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        with self._news:
            assert self._news.wait_for(lambda: any(map(fits, self.events)), 20), self.events
            return next(event for event in self.events if fits(event))


def is_map(stage: str, after: int = 0) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["type"] == "map" and event["stage"] == stage and event["generation"] > after


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def following(desk: Desk, heard: Heard, tmp_path: Path) -> Iterator[LiveMap]:
    """A live map of the project's labels, by a plain classifier."""
    found = LiveMap(desk, desk.plan.live_request(tmp_path / "project" / "live"), "", heard)
    found.start()
    yield found
    found.stop()


def colours(png: bytes | None) -> np.ndarray:
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_the_map_follows_the_labels(desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray) -> None:
    following.look(WHOLE)
    desk.edit(labelled(truth))
    following.changed(desk.log.revision)
    event = heard.wait(is_map("fine"))
    assert (event["window"], event["step"], event["width"], event["height"]) == ([0, 0, 70, 90], 1, 70, 90)
    classes = desk.log.state.classes
    table = np.array([list(bytes.fromhex(classes[name].colour[1:])) for name in event["classes"]])
    picture = colours(following.picture(event["generation"], "fine", "map"))
    assert (picture[..., 3] == 255).all()
    assert np.mean((picture[..., :3] == table[truth]).all(axis=-1)) > 0.9
    sure = colours(following.picture(event["generation"], "fine", "confidence"))
    assert 85 <= sure[..., 0].mean() <= 255
    assert following.picture(event["generation"], "fine", "else") is None


def test_a_label_paints_the_map_anew_and_undoing_it_brings_the_old_one_back(
    desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray
) -> None:
    following.look(WHOLE)
    desk.edit(labelled(truth, 3))
    following.changed(desk.log.revision)
    pictures: list[bytes | None] = []
    for change in (
        lambda: None,
        lambda: desk.edit([{"op": "set_class", "ids": ["l0", "l1", "l2"], "class": "c1"}]),
        desk.undo,
    ):
        before = following.last["generation"] if following.last else 0
        change()
        following.changed(desk.log.revision)
        event = heard.wait(is_map("fine", before if pictures else 0))
        pictures.append(following.picture(event["generation"], "fine", "map"))
    assert pictures[0] == pictures[2] != pictures[1]


def test_until_there_are_two_classes_the_page_is_told_what_is_missing(
    desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray
) -> None:
    following.look(WHOLE)
    assert "two classes" in heard.wait(is_map("failed"))["message"]
    assert following.mapped is None


def test_the_panel_says_once_what_is_wrong_with_labels_and_names_no_file(
    desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray
) -> None:
    following.look(WHOLE)
    desk.edit([*labelled(truth, 1), *(add_point(f"m{number}", number, 30.5, 40.5) for number in range(2))])
    following.changed(desk.log.revision)
    heard.wait(is_map("fine"))
    desk.live = following
    said = desk.panel()["warnings"]
    assert said[:2] == ["only one label of town", "2 labels claim pixels of another class's; these pixels do not count"]
    assert not [text for text in said[2:] if "labels.fgb" in text or "only one" in text or "claimed" in text]


def test_accuracy_is_measured_once_it_is_quiet(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray
) -> None:
    monkeypatch.setattr(live, "_QUIET", 0.05)
    following.look(WHOLE)
    desk.edit(labelled(truth))
    following.changed(desk.log.revision)
    found = heard.wait(lambda event: event["type"] == "panel" and bool(event.get("accuracy")))["accuracy"]
    assert found["low"] <= found["value"] <= found["high"]
    assert (found["value"] > 0.8, found["labels"]) == (True, 24)


def test_what_is_newest_wins(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, heard: Heard, tmp_path: Path, truth: np.ndarray
) -> None:
    """Twelve labels come faster than a slow model answers: it adapts to few of them, and last to the last."""
    adapted: list[int] = []

    class SlowPredictor(fakes.FakePredictor):
        def fit(self, support_x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
            adapted.append(int((y >= 0).sum()))
            return super().fit(support_x, y)

    model = SlowPredictor(seconds=0.05)
    monkeypatch.setattr(live, "open_predictor", lambda target: model)
    monkeypatch.setattr(live, "_QUIET", 60)
    request = desk.plan.live_request(tmp_path / "project" / "live")
    following = LiveMap(desk, fakes.replace(request, method="adapted"), "slow", heard)
    following.start()
    following.look(WHOLE)
    desk.edit(labelled(truth, 3))
    for number in range(12):
        row, column = np.argwhere(truth == number % 3)[10 * number]
        desk.edit([add_point(f"more{number}", number % 3, column + 0.5, row + 0.5)])
        following.changed(desk.log.revision)
        time.sleep(0.01)
    heard.wait(lambda event: is_map("fine")(event) and is_of_all(following, desk))
    following.stop()
    of_labels = adapted[1:]  # the first one warms the model up
    assert len(of_labels) < 2 * 12  # once for a coarse map and once for a fine one, of every label
    assert of_labels[-1] == max(of_labels)


def is_of_all(following: LiveMap, desk: Desk) -> bool:
    return following.known is not None and following.known.state.labels == desk.log.state.labels


def test_another_window_does_not_adapt_again(desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray) -> None:
    following.look(WHOLE)
    desk.edit(labelled(truth))
    following.changed(desk.log.revision)
    first = heard.wait(is_map("fine"))
    known = following.known
    following.look(Window(10, 20, 30, 40))
    event = heard.wait(is_map("fine", first["generation"]))
    assert following.known is known
    assert event["window"] == [20, 10, 60, 40]
    whole = colours(following.picture(first["generation"], "fine", "map"))
    assert np.array_equal(colours(following.picture(event["generation"], "fine", "map")), whole[10:40, 20:60])


def test_where_the_model_is_applicable_is_shown_once_it_is_looked_at(
    desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray
) -> None:
    following.look(WHOLE)
    desk.edit(labelled(truth))
    following.changed(desk.log.revision)
    plain = heard.wait(is_map("fine"))
    assert (plain["layers"], plain["holds"]) == (["map", "confidence"], None)
    following.look(WHOLE, applicable=True)
    event = heard.wait(is_map("fine", plain["generation"]))
    assert event["layers"] == ["map", "confidence", "applicable"]
    pictures = [colours(following.picture(event["generation"], "fine", layer)) for layer in event["layers"]]
    assert np.array_equal(pictures[0], colours(following.picture(plain["generation"], "fine", "map")))
    outside = (pictures[2][..., :3] == OUTSIDE).all(axis=-1)
    assert event["holds"] == pytest.approx(1 - outside.mean()) and 0.5 < event["holds"] < 1
    inside = pictures[2][~outside]
    assert (inside[:, 0] == inside[:, 1]).all() and inside[:, 0].min() >= 100 and (pictures[2][..., 3] == 255).all()


def test_labels_that_cannot_tell_where_the_model_is_applicable_still_map(
    desk: Desk, following: LiveMap, heard: Heard, truth: np.ndarray
) -> None:
    following.look(WHOLE, applicable=True)
    near = [(row, column) for row in range(8) for column in range(8)]
    points = [add_point(f"n{row}{column}", column // 4, column + 0.5, row + 0.5) for row, column in near]
    desk.edit([add_class("left", 0), add_class("right", 1), *points])
    following.changed(desk.log.revision)
    event = heard.wait(is_map("fine"))
    assert event["layers"] == ["map", "confidence"]
    assert "where the map holds cannot be told" in event["message"]


def test_bands_of_larger_pixels_alone_are_mapped_where_they_lie(
    desk: Desk, tmp_path: Path, heard: Heard, truth: np.ndarray
) -> None:
    """The page counts pixels of 20 x 30 m, the model reads bands of 40 x 60 m."""
    coarse = truth[::2, ::2]
    own = fakes.write_scene(
        tmp_path / "coarse.tif", fakes.draw_pixels(coarse), fakes.grid_of(45, 35, pixel=(40.0, 60.0))
    )
    live = desk.plan.folder / "live"
    following = LiveMap(desk, dataclasses.replace(desk.plan.live_request(live), scenes=(str(own),)), "", heard)
    following.start()
    following.look(Window(11, 21, 38, 40))
    desk.edit(labelled(truth))
    following.changed(desk.log.revision)
    event = heard.wait(is_map("fine"))
    assert event["window"] == [20, 10, 62, 50]
    assert (event["height"], event["width"]) == (20, 21)
    desk.live, before = following, desk.live
    places = desk.suggest(5)
    desk.live = before
    following.stop()
    assert before is not None
    assert places and all(20 <= own["column"] <= 62 and 10 <= own["row"] <= 50 for own in places)
    table = np.array([list(bytes.fromhex(entry.colour[1:])) for entry in desk.log.state.classes.values()])
    picture = colours(following.picture(event["generation"], "fine", "map"))[..., :3]
    assert np.mean((picture == table[coarse[5:25, 10:31]]).all(axis=-1)) > 0.9


def test_frames_of_one_grid_change_nothing() -> None:
    grid = fakes.grid_of(90, 70, degrees=25, crs=None)
    frames, window = Frames(grid, grid), Window(11, 21, 38, 40)
    assert frames.window_of_model(window) == window
    assert frames.box_on_page(window) == [21, 11, 61, 49]
    assert frames.window_of_model(Window(90, 0, 5, 5)) is None
    places = np.array([[3.25, 4.5], [60, 80]])
    assert np.array_equal(frames.to_page(frames.to_model(places)), places)


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
@pytest.mark.parametrize("kind", ["no CRS", "several dates"])
def test_any_scene_that_is_mapped_has_a_live_map(
    open_project: Callable[..., Desk], tmp_path: Path, truth: np.ndarray, kind: str
) -> None:
    bare = fakes.grid_of(90, 70, crs=None) if kind == "no CRS" else fakes.grid_of(90, 70)
    dates = ("2024-06-01", "2024-06-11")[: 1 + (kind != "no CRS")]
    files = [
        fakes.write_scene(tmp_path / f"s{number}.tif", fakes.draw_pixels(truth, 90 + 200 * number), bare)
        for number in range(len(dates))
    ]
    scenes = tuple(f"{date}={path}" for date, path in zip(dates, files, strict=True))
    desk = open_project("other", scenes=scenes, pictures=PicturePlan(composite="mean"))
    assert desk.plan.name == "s0"
    assert desk.live is not None
    desk.look(WHOLE)
    desk.edit(labelled(truth))
    end = time.monotonic() + 20
    while (desk.live.last or {}).get("stage") not in ("fine", "failed") or desk.live.known is None:
        assert time.monotonic() < end, desk.live.last
        time.sleep(0.02)
    assert desk.live.last is not None and desk.live.last["stage"] == "fine", desk.live.last
    assert desk.pictures.tile(0, 0, 0, desk.pictures.usual_look()) is not None
    assert "--composite mean" in desk.commands({})["map"]
