"""Maps by the method that the region's own labels speak for, through the same engine as any other map."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio import Affine
from sklearn.ensemble import RandomForestClassifier

from fewshot.errors import ArtifactError, DivergedError, RasterError, RecipeError
from fewshot.exported.card import Card, ClassEntry, SignatureNote, TensorNote
from fewshot.exported.predictor import Array, Predictor
from fewshot.geo.grid import Grid
from fewshot.geo.writing import write_raster
from fewshot.mapping.compare.choose import Choice, Models, choose_method
from fewshot.mapping.plain import methods
from fewshot.mapping.plain.predictor import TITLES
from fewshot.mapping.predict.engine import open_engines
from fewshot.mapping.predict.layout import WindowPlan
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.product.report import MapReport
from fewshot.mapping.region_map import map_scene
from fewshot.mapping.request import MapRequest
from fewshot.mapping.support.examples import LabelPlan
from tests.mapping.conftest import FILES, Case, made_files, output, read, values_of
from tests.mapping.fakes import CLASSES, PATCH, PIXEL, FakePredictor, write_points
from tests.mapping.predict.test_resume import Killed, stop_after


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred trees in every fold take half of the time here, and decide nothing."""
    monkeypatch.setitem(methods._MAKE, "forest", lambda: RandomForestClassifier(8, random_state=0))


def run(models: Predictor | Models | None, request: MapRequest) -> tuple[Choice, MapReport]:
    """Map as the command does."""
    choice = choose_method(models, request)
    report = map_scene(choice.predictor, run_here(choice.predictor), choice.request, comparison=choice.comparison)
    return choice, report


def said(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output(folder).with_suffix(".json").read_text(encoding="utf-8"))
    return found


@dataclass(eq=False)
class Blind(FakePredictor):
    """A model that says the same of every pixel."""

    def read(self, values: Any) -> np.ndarray:
        return np.zeros_like(super().read(values))


@dataclass(eq=False)
class Watched(FakePredictor):
    """Remembers the pixels whose labels it was shown in each adaptation."""

    shown: list[set[tuple[float, ...]]] = field(default_factory=list)

    def fit(self, support_x: Array, y: Array) -> dict[str, Array]:
        self.shown.append({tuple(pixel) for pixel in support_x[y >= 0].tolist()})
        return super().fit(support_x, y)


@pytest.mark.parametrize("method", sorted(TITLES))
def test_a_plain_classifier_maps_without_a_model(case: Case, tmp_path: Path, method: str) -> None:
    _, report = run(None, case.request(output(tmp_path), method=method))
    has_data = case.pixels.any(axis=-1)
    found = read(output(tmp_path))
    assert (found == values_of(case.truth))[has_data].mean() > 0.98
    assert np.all(found[~has_data] == 0)
    assert made_files(tmp_path) == FILES
    assert report.comparison is None
    assert said(tmp_path)["method"] == method
    assert said(tmp_path)["model"]["title"] == TITLES[method]
    assert said(tmp_path)["labels"]["support"] == {"forest": 8, "town": 8, "water": 8}


def test_every_method_is_compared_and_the_figures_are_kept(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    choice, report = run(FakePredictor(), case.request(output(tmp_path), compare=True))
    assert made_files(tmp_path) == FILES | {"map_reliability.png"}
    kept = said(tmp_path)["compare"]
    assert {row["name"] for row in kept["methods"]} == {"adapted", "combined", *TITLES}
    assert all(row["accuracy"]["value"] > 0.95 for row in kept["methods"])
    assert kept["chosen"] == choice.request.method == "combined"
    assert kept["labels"] == 60 and kept["folds"] == 5 and kept["block_pixels"] >= 16
    assert any("combined maps" in line for line in report.lines())
    _, (head, rows) = report.comparison.table() if report.comparison else ("", ((), ()))
    assert len(rows) == 8 and all(len(row) == len(head) for row in rows)


@pytest.mark.parametrize("card", [PIXEL, PATCH])
def test_a_model_that_knows_nothing_does_not_map(make_case: Callable[..., Case], tmp_path: Path, card: Any) -> None:
    case = make_case(200, 160, each=20)
    choice, _ = run(Blind(replace(card, head="shared")), case.request(output(tmp_path), method="auto"))
    assert choice.comparison is not None and choice.comparison.methods[-1].name == "adapted"
    assert choice.request.method in TITLES
    assert (read(output(tmp_path)) == values_of(case.truth)).mean() > 0.98


def test_a_model_maps_where_it_is_surely_better(make_case: Callable[..., Case], tmp_path: Path) -> None:
    """Labels that no pixel explains and that the model knows by heart: no plain classifier can follow."""
    case = make_case(200, 160, each=20)
    places = np.argwhere(np.ones(case.truth.shape, np.bool_))
    chosen = np.random.default_rng(0).permutation(places)[:90].tolist()
    odd = write_points(tmp_path / "odd.gpkg", case.grid, [(r, c, CLASSES[(r + c) % 2]) for r, c in chosen])
    of_pixel = {tuple(case.pixels[r, c].tolist()): (r + c) % 2 for r, c in chosen}

    class Oracle(FakePredictor):
        def answer(self, vector: Array, query_x: Array) -> dict[str, Array]:
            first = sorted(CLASSES[:2]).index(CLASSES[0])
            known = [of_pixel.get(tuple(pixel), 0) ^ first for pixel in query_x.reshape(-1, 2).tolist()]
            probabilities = np.eye(2, dtype=np.float32)[known].reshape(*query_x.shape[:3], 2)
            return {"probabilities": probabilities, "class_index": probabilities.argmax(axis=-1)}

    request = case.request(output(tmp_path), labels=LabelPlan(odd), method="auto")
    choice = choose_method(Oracle(replace(PIXEL, head="shared")), request)
    assert choice.request.method == "adapted"
    assert choice.comparison is not None and choice.comparison.methods[0].accuracy.value > 0.98


def test_held_out_labels_are_not_shown_even_as_neighbours(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    model = Watched()
    choice = choose_method(model, case.request(output(tmp_path), labels=LabelPlan(case.labels, radius=2), compare=True))
    assert choice.comparison is not None
    folds = model.shown[: choice.comparison.folds]
    assert all(len(shown) > 100 for shown in folds)
    # Each fold leaves out pixels that all others were shown: those around its own labels.
    for number, shown in enumerate(folds):
        others = set.union(*(one for other, one in enumerate(folds) if other != number))
        assert len(others - shown) > 50


def test_labels_kept_back_are_no_part_of_the_comparison(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(400, 320, each=60)
    plan = LabelPlan(case.labels, holdout=0.3)
    _, report = run(None, case.request(output(tmp_path), labels=plan, method="auto"))
    found = said(tmp_path)
    assert found["compare"]["labels"] == sum(found["labels"]["support"].values()) < 180
    assert report.accuracy is not None and found["labels"]["kept_back"]["apart_pixels"] == 16
    with_model, _ = run(FakePredictor(), case.request(output(tmp_path), labels=plan, compare=True, method="forest"))
    found = said(tmp_path)
    assert found["compare"]["labels"] == sum(found["labels"]["support"].values()) < 180
    assert with_model.request.method == "forest"


def test_calibration_changes_confidence_and_no_class(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    windows = WindowPlan(size=16, overlap=8)
    bare, compared = (tmp_path / name / "map.tif" for name in ("bare", "compared"))
    run(FakePredictor(edges=True), case.request(bare, windows=windows, method="adapted"))
    request = case.request(compared, windows=windows, method="adapted", compare=True)
    _, report = run(FakePredictor(edges=True), request)
    assert report.comparison is not None
    temperature = report.comparison.calibration.temperature
    assert temperature != 1
    assert np.array_equal(read(bare), read(compared))
    before, after = (read(path.with_name("map_confidence.tif")) for path in (bare, compared))
    inside = (before > 0.4) & (before < 0.95)
    changed = (after - before)[inside]
    assert inside.any() and np.all(changed < 0 if temperature > 1 else changed > 0)


def test_a_kept_model_keeps_its_temperature(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    kept = tmp_path / "mine.npz"
    run(None, case.request(output(tmp_path), method="logistic", compare=True, save_adapted=kept))
    first = read(output(tmp_path).with_name("map_confidence.tif"))
    run(None, case.request(output(tmp_path), adapted=kept, method="logistic"))
    assert np.array_equal(first, read(output(tmp_path).with_name("map_confidence.tif")))
    with pytest.raises(ArtifactError, match="adapted from another model"):
        run(None, case.request(output(tmp_path), adapted=kept, method="nearest"))


@pytest.mark.slow
def test_an_interrupted_map_goes_on_with_the_same_method(
    case: Case, tmp_path: Path, small_groups: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = case.request(output(tmp_path), method="auto", windows=WindowPlan(size=16))
    run(None, request)
    pixels = [output(tmp_path).with_name(name).read_bytes() for name in ("map.tif", "map_confidence.tif")]
    choice = choose_method(None, request)
    with pytest.raises(Killed):
        map_scene(choice.predictor, stop_after(3, choice.predictor), choice.request, comparison=choice.comparison)
    monkeypatch.setattr("fewshot.mapping.compare.choose.deal", None)  # nothing is compared again
    again, _ = run(None, replace(request, resume=True))
    assert again.comparison == choice.comparison
    assert [output(tmp_path).with_name(name).read_bytes() for name in ("map.tif", "map_confidence.tif")] == pixels


@pytest.mark.slow
def test_worker_processes_give_the_same_bits(case: Case, tmp_path: Path, small_groups: None) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        request = case.request(tmp_path / name / "map.tif", method="forest", windows=WindowPlan(size=16))
        choice = choose_method(None, request)
        with open_engines(workers=workers) as engine_of:
            map_scene(choice.predictor, engine_of(choice.predictor), choice.request)
    for name in ("map.tif", "map_confidence.tif"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_model_that_diverges_is_left_out_and_named(make_case: Callable[..., Case], tmp_path: Path) -> None:
    class Diverging(FakePredictor):
        def fit(self, support_x: Array, y: Array) -> dict[str, Array]:
            raise DivergedError("the loss is not a number")

    case = make_case(200, 160, each=20)
    choice = choose_method(Diverging(replace(PIXEL, head="shared")), case.request(output(tmp_path), method="auto"))
    assert choice.comparison is not None
    why = "is not compared: the loss is not a number"
    assert choice.comparison.notes == (f"adapted {why}", f"combined {why}")
    with pytest.raises(DivergedError):
        choose_method(Diverging(), case.request(output(tmp_path), compare=True))


def test_a_model_of_fixed_classes_is_compared(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    classes = tuple(ClassEntry(name) for name in ("snow", "water", "forest", "town"))
    card = replace(PIXEL, label_space="global", classes=classes, head="fixed")
    choice, report = run(FakePredictor(card), case.request(output(tmp_path), compare=True))
    assert choice.comparison is not None
    assert all(one.accuracy.value > 0.95 for one in choice.comparison.methods)
    assert report.table.names == ("snow", "water", "forest", "town")


@pytest.mark.parametrize(
    ("card", "method"),
    [
        (PIXEL, "combined"),
        (PATCH, "adapted"),
        (replace(PIXEL, label_space="global", classes=tuple(ClassEntry(name) for name in CLASSES)), "adapted"),
    ],
)
def test_the_usual_method_suits_the_model(case: Case, tmp_path: Path, card: Card, method: str) -> None:
    run(FakePredictor(card), case.request(output(tmp_path)))
    assert said(tmp_path)["method"] == method


def test_a_model_adapted_before_maps_with_the_method_it_was_adapted_by(case: Case, tmp_path: Path) -> None:
    for method in ("adapted", "combined"):
        kept = tmp_path / f"{method}.npz"
        run(FakePredictor(), case.request(output(tmp_path), method=method, save_adapted=kept))
        choice = choose_method(FakePredictor(), case.request(output(tmp_path), adapted=kept))
        assert choice.request.method == method


def test_where_a_plain_classifier_has_a_part_labels_are_their_own_pixels(case: Case, tmp_path: Path) -> None:
    request = case.request(output(tmp_path), labels=LabelPlan(case.labels, radius=2))
    for method, radius in (("adapted", 2), ("combined", 0), ("logistic", 0)):
        chosen = choose_method(FakePredictor(), replace(request, method=method)).request
        assert chosen.labels is not None and chosen.labels.radius == radius


def test_the_labels_decide_on_steps_where_the_model_can(case: Case, tmp_path: Path) -> None:
    class Stepwise(FakePredictor):
        def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
            taken = {"steps": np.array(5 if inputs["steps"] == -1 else inputs["steps"])} if "steps" in inputs else {}
            return super().call(signature, inputs) | taken

    adapt = SignatureNote("", {}, {"steps": TensorNote("int32", "[]", "")})
    model = Stepwise(replace(PIXEL, signatures={"adapt": adapt}))
    _, report = run(model, case.request(output(tmp_path)))
    assert said(tmp_path)["steps"] == {"asked": "auto", "taken": 5}
    assert "Support loss 2.000 before adaptation, 0.500 after 5 inner steps." in report.lines()
    run(model, case.request(output(tmp_path), steps=3))
    assert said(tmp_path)["steps"] == {"asked": 3, "taken": 3}
    run(FakePredictor(), case.request(output(tmp_path)))
    assert said(tmp_path)["steps"] == {"asked": None, "taken": None}


@pytest.mark.slow
def test_several_models_are_compared_and_the_best_maps(make_case: Callable[..., Case], tmp_path: Path) -> None:
    case = make_case(200, 160, each=20)
    other = replace(PIXEL, bands=(replace(PIXEL.bands[0], name="B9"),))
    models = {"blind": Blind(), "seeing": FakePredictor(), "of another band": FakePredictor(other)}
    choice, _ = run(models, case.request(output(tmp_path), compare=True))
    assert choice.comparison is not None
    assert (choice.comparison.chosen, choice.comparison.model) == ("combined", "blind")  # the first one named
    found = {(one.name, one.model): one.macro_f1.value for one in choice.comparison.methods}
    assert {model for _, model in found} == {"", "blind", "seeing"}
    assert found["adapted", "blind"] < 0.4 < found["adapted", "seeing"]
    [note] = choice.comparison.notes
    assert note.startswith("of another band is not compared: ") and "B9" in note
    assert {row["model"] for row in said(tmp_path)["compare"]["methods"]} == {"", "blind", "seeing"}
    choice = choose_method(models, case.request(output(tmp_path), method="auto"))
    assert choice.comparison is not None and choice.comparison.model != "blind"
    with pytest.raises(RasterError, match="B9"):
        choose_method(dict(reversed(models.items())), case.request(output(tmp_path), compare=True))


def test_a_map_of_several_models_goes_on_with_the_model_it_began_with(
    make_case: Callable[..., Case], tmp_path: Path, small_groups: None
) -> None:
    case = make_case(200, 160, each=20)
    models = {"blind": Blind(), "seeing": FakePredictor()}
    request = case.request(output(tmp_path), compare=True, method="adapted", windows=WindowPlan(size=16))
    choice = choose_method(dict(reversed(models.items())), request)
    with pytest.raises(Killed):
        map_scene(choice.predictor, stop_after(3, choice.predictor), choice.request, comparison=choice.comparison)
    assert choose_method(models, replace(request, resume=True)).predictor is models["seeing"]
    with pytest.raises(RecipeError, match="begun with adapted of seeing"):
        choose_method({"blind": models["blind"], "third": Blind()}, replace(request, resume=True))


def test_what_does_not_go_together_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--method adapted needs a model"):
        choose_method(None, case.request(output(tmp_path)))
    with pytest.raises(RecipeError, match="hold labels out to test on"):
        case.request(output(tmp_path), adapted=tmp_path / "mine.npz", method="auto")
    with pytest.raises(RecipeError, match="received svm"):
        case.request(output(tmp_path), method="svm")
    with pytest.raises(RecipeError, match="has bands 1 to 2"):
        choose_method(None, case.request(output(tmp_path), method="nearest", bands=(1, 3)))


def test_bands_that_are_named_by_number_are_those_of_a_plain_classifier(case: Case, tmp_path: Path) -> None:
    run(None, case.request(output(tmp_path), method="nearest", bands=(2,)))
    assert said(tmp_path)["scene"]["bands"] == {"B8": 2}


@pytest.mark.parametrize("method", ["auto", "prototypes", "logistic", "nearest"])
def test_embeddings_are_scenes(tmp_path: Path, method: str) -> None:
    """A mosaic of unit vectors of 64 bands, int8 with scale and offset, its rows from south to north."""
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, 3, (6, 10)), np.ones((12, 12), int))
    means = rng.normal(size=(3, 64))
    vectors = means[truth] + rng.normal(0, 1.2, (*truth.shape, 64))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    stored = np.round(vectors * 127 * 2).clip(-127, 127).astype(np.int8)
    stored[:5, :5] = -128
    whole = Grid(72, 120, Affine(10.0, 0.0, 500000.0, 0.0, 10.0, 5000000.0), "EPSG:32633")
    parts = []
    for number in range(2):
        columns = slice(60 * number, 60 * number + 60)
        transform = whole.transform @ Affine.translation(columns.start, 0)
        path = tmp_path / f"part{number}.tif"
        grid = Grid(72, 60, transform, whole.crs)
        names = tuple(f"A{band:02d}" for band in range(64))
        write_raster(path, stored[:, columns], grid, names=names, nodata=-128, scale=1 / 254)
        parts.append(str(path))
    places = rng.permutation(np.argwhere(np.ones_like(truth)))[:60].tolist()
    points = [(row, column, CLASSES[truth[row, column]]) for row, column in places if row > 4]
    labels = write_points(tmp_path / "points.gpkg", whole, points)
    choice, _ = run(None, MapRequest(tuple(parts), output(tmp_path), LabelPlan(labels), method=method))
    assert choice.request.method in TITLES
    found, has_data = read(output(tmp_path)), (stored != -128).all(axis=-1)
    assert (found == values_of(truth))[has_data].mean() > 0.95
    assert np.all(found[:5, :5] == 0)
    assert said(tmp_path)["scene"]["rows"] == 72 and len(said(tmp_path)["scene"]["bands"]) == 64
