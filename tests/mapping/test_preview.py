"""A preview is what the map will be: the same labels, the same model, the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.errors import DataNotFoundError, RasterError
from fewshot.exported.adapted import AdaptedModel
from fewshot.exported.predictor import Predictor
from fewshot.geo.windows import Window
from fewshot.mapping.compare.choose import choose_method
from fewshot.mapping.preview import MapPreview, WatchedPredictor, fitting_windows
from fewshot.mapping.progress import is_begun, map_progress
from fewshot.mapping.request import MapRequest
from tests.mapping import fakes
from tests.mapping.conftest import read, run

MakeCase = Callable[..., Any]


def preview_of(model: Predictor, request: MapRequest) -> MapPreview:
    choice = choose_method(model, request)
    return MapPreview(choice.predictor, choice.request)


def test_several_dates_are_shown_as_they_are_mapped(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(), fakes.FakePredictor()
    other = fakes.write_scene(tmp_path / "june.tif", fakes.draw_pixels(case.truth, 400), case.grid)
    scenes = (f"2024-06-01={case.scene}", f"2024-06-11={other}")
    request = case.request(tmp_path / "map.tif", scenes=scenes, method="adapted")
    run(request, model)
    preview = preview_of(model, request)
    adapted = preview.adapt(preview.read_labels(), preview.steps("fine"))
    window = Window(25, 11, 40, 47)
    numbers = np.array([*adapted.values, 0])[preview.part(adapted, window, "fine").classes]
    assert np.array_equal(numbers, read(request.to)[window.slices])


def test_where_the_model_is_applicable_is_shown_as_it_is_mapped(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(), fakes.FakePredictor()
    lava = case.pixels.copy()
    lava[20:40, 20:40] = (9000, 500)
    fakes.write_scene(case.scene, lava, case.grid)
    request = case.request(tmp_path / "map.tif", method="adapted", applicable=True)
    run(request, model)
    inside = read(tmp_path / "map_applicable.tif")
    preview = preview_of(model, request)
    labels = preview.read_labels()
    plain = preview.adapt(labels, preview.steps("fine"))
    assert preview.part(plain, Window(0, 0, 90, 70), "fine").share_inside is None
    adapted = preview.with_space(labels, plain)
    for window in (Window(0, 0, 90, 70), Window(11, 15, 40, 47)):
        part = preview.part(adapted, window, "fine")
        assert part.reach is not None
        assert np.array_equal(part.reach <= 1, inside[window.slices] == 1)
        assert part.share_inside == (inside[window.slices] == 1).mean() < 1


@pytest.mark.parametrize("card", [fakes.PIXEL, fakes.PATCH])
def test_the_model_is_adapted_as_for_the_map(make_case: MakeCase, tmp_path: Path, card: Any) -> None:
    case, model = make_case(), fakes.FakePredictor(card)
    request = case.request(tmp_path / "map.tif", method="adapted", save_adapted=tmp_path / "adapted.npz")
    run(request, model)
    preview = preview_of(model, request)
    adapted = preview.adapt(preview.read_labels(), preview.steps("fine"))
    wanted = AdaptedModel.load(tmp_path / "adapted.npz", card)
    assert adapted.adapted.vector.tobytes() == wanted.adapted.vector.tobytes()
    assert adapted.table == wanted.table


def test_a_part_shows_what_the_map_shows_there(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(empty=np.s_[30:50, 20:40]), fakes.FakePredictor()
    request = case.request(tmp_path / "map.tif", method="adapted")
    run(request, model)
    mapped, sure = read(request.to), read(tmp_path / "map_confidence.tif")
    preview = preview_of(model, request)
    adapted = preview.adapt(preview.read_labels(), preview.steps("fine"))
    for window in (Window(0, 0, 90, 70), Window(25, 11, 40, 47), Window(80, 60, 10, 10)):
        part = preview.part(adapted, window, "fine")
        assert (part.window, part.step) == (window, 1)
        numbers = np.array([*adapted.values, 0])[part.classes]
        assert np.array_equal(numbers, mapped[window.slices])
        shown = part.classes >= 0
        assert np.abs(part.confidence[shown] - sure[window.slices][shown]).max() < 1e-3
        assert (part.margin[shown] >= 0).all() and (part.runner_up[shown] != part.classes[shown]).all()


def test_a_coarse_part_has_fewer_pixels_and_says_about_the_same(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(400, 360), fakes.FakePredictor()
    preview = preview_of(model, case.request(tmp_path / "map.tif", method="adapted"))
    adapted = preview.adapt(preview.read_labels(), preview.steps("coarse"))
    coarse = preview.part(adapted, Window(0, 0, 400, 360), "coarse")
    assert (coarse.step, coarse.classes.shape) == (3, (134, 120))
    fine = preview.part(adapted, Window(0, 0, 400, 360), "fine")
    assert np.mean(coarse.classes[:133] == fine.classes[1:399:3, 1:360:3]) > 0.9


def test_patches_are_previewed_too(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(), fakes.FakePredictor(fakes.PATCH)
    preview = preview_of(model, case.request(tmp_path / "map.tif", method="adapted"))
    adapted = preview.adapt(preview.read_labels(), preview.steps("fine"))
    for stage in ("coarse", "fine"):
        part = preview.part(adapted, Window(10, 10, 60, 50), stage)
        assert part.window == Window(10, 10, 60, 50)
        found = np.array([fakes.CLASSES.index(name) for name in adapted.table.names])[part.classes]
        assert np.mean(found == case.truth[10:70, 10:60]) > 0.5


def test_held_out_labels_are_told_as_in_a_comparison(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(), fakes.FakePredictor()
    preview = preview_of(model, case.request(tmp_path / "map.tif", method="adapted"))
    found, tested = preview.cross_validate(preview.read_labels())
    assert (found.value, tested) == (1, 24)
    assert 0.7 < found.low < 0.95  # of 24 labels in a score of squares nobody knows it better
    assert found.high == pytest.approx(1)


def test_it_can_be_stopped_at_every_call(make_case: MakeCase, tmp_path: Path) -> None:
    def stop() -> None:
        raise RuntimeError("stopped")

    case, model = make_case(), fakes.FakePredictor()
    preview = preview_of(WatchedPredictor(model, stop), case.request(tmp_path / "map.tif", method="adapted"))
    with pytest.raises(RuntimeError, match="stopped"):
        preview.adapt(preview.read_labels(), preview.steps("fine"))
    assert not model.calls


def test_labels_may_come_later_and_change(make_case: MakeCase, tmp_path: Path) -> None:
    case, model = make_case(), fakes.FakePredictor()
    kept = case.labels.rename(tmp_path / "later.gpkg")
    preview = preview_of(model, case.request(tmp_path / "map.tif", method="adapted"))
    with pytest.raises(DataNotFoundError):
        preview.read_labels()
    kept.rename(case.labels)
    assert len(preview.read_labels().used.examples) == 24
    fakes.write_points(case.labels, case.grid, fakes.draw_points(case.truth, 2))
    assert len(preview.read_labels().used.examples) == 6
    fakes.write_points(case.labels, case.grid, [(1, 1, "water"), (9, 9, "water")])
    with pytest.raises(RasterError, match="one class alone"):
        preview.read_labels()


@pytest.mark.parametrize("size", [(512, 512), (700, 300), (20, 20), (1, 400)])
def test_windows_of_a_part_are_few_pixels(size: tuple[int, int]) -> None:
    card = replace(fakes.PIXEL, size=replace(fakes.PIXEL.size, rows=32, columns=32, largest=256, multiple_of=1))
    found = fitting_windows(card, size)
    assert found.size is not None and found.overlap == 16
    counts = [1 + max(0, -(-(length - found.size + 8) // (found.size - 16))) for length in size]
    margins = (size[0] + 32) * (size[1] + 32)
    assert counts[0] * counts[1] * found.size**2 < 2.2 * margins or min(size) < 64


def test_progress_is_read_while_another_process_maps(make_case: MakeCase, tmp_path: Path, small_groups: None) -> None:
    case, to = make_case(), tmp_path / "map.tif"
    assert map_progress(to) is None and not is_begun(to)
    seen: list[Any] = []
    request = case.request(to, method="adapted")
    run(request, progress=lambda done, total: seen.append((map_progress(to), (done, total))))
    assert len(seen) > 3
    assert all(found == said for found, said in seen)
    assert map_progress(to) is None and not is_begun(to)
