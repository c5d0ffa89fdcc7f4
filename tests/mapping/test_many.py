import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from fewshot.errors import DataNotFoundError, ManifestError
from fewshot.mapping.many import map_many, read_regions, split_bands, table_lines, write_table
from fewshot.mapping.predict.pipeline import run_here
from fewshot.mapping.region_map import map_scene
from fewshot.mapping.request import MapRequest
from tests.mapping.conftest import Case
from tests.mapping.fakes import FakePredictor


def common(path: Path, **changed: Any) -> MapRequest:
    from fewshot.mapping.support.examples import LabelPlan

    return MapRequest((), Path("map.tif"), LabelPlan(path), **changed)


@pytest.fixture
def regions(make_case: Callable[..., Case], tmp_path: Path) -> Path:
    """Three regions; the labels of the second are not there."""
    for name in ("hill", "valley", "coast"):
        make_case(name=name)
    (tmp_path / "valley.gpkg").unlink()
    path = tmp_path / "regions.csv"
    lines = ["name, scene, labels", *(f"{name}, {name}.tif, {name}.gpkg" for name in ("hill", "valley", "coast"))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_one_region_that_fails_does_not_stop_the_others(
    regions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.exported.client.open_predictor", lambda target: FakePredictor())
    arguments = ["map-many", str(regions), "--to", str(tmp_path / "maps"), "--model", str(tmp_path), "--holdout", "0.3"]
    arguments += ["--apart", "3"]
    result = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
    assert result.exit_code == 1
    with (tmp_path / "maps" / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["region"]: row for row in csv.DictReader(file)}
    assert [row["state"] for row in rows.values()] == ["mapped", "failed", "mapped"]
    assert "valley.gpkg" in rows["valley"]["message"]
    assert float(rows["hill"]["accuracy"]) > 0.9
    assert (tmp_path / "maps" / "coast" / "map.png").exists() and not (
        tmp_path / "maps" / "valley" / "map.tif"
    ).exists()
    shown = result.output.splitlines()
    assert any(line.startswith("valley") and "failed" in line for line in shown)


def test_with_resume_only_what_is_missing_is_mapped(
    regions: Path, make_case: Callable[..., Case], tmp_path: Path
) -> None:
    model = FakePredictor()

    def run(request: MapRequest) -> Any:
        return map_scene(model, run_here(model), request)

    first = list(map_many(read_regions(regions, tmp_path / "maps", common(regions)), run))
    assert [result.state for result in first] == ["mapped", "failed", "mapped"]
    make_case(name="valley")
    again = list(map_many(read_regions(regions, tmp_path / "maps", common(regions, resume=True)), run))
    assert [result.state for result in again] == ["skipped", "mapped", "skipped"]
    lines = list(table_lines(again))
    assert lines[0].startswith("region") and "skipped" in lines[1] and "its map is there already" in lines[1]
    written = tmp_path / "new" / "table.csv"
    write_table(written, first)
    write_table(written, again)
    rows = list(csv.DictReader(written.open(encoding="utf-8")))
    assert [row["state"] for row in rows] == ["skipped", "mapped", "skipped"]
    assert all(row["classes"] == "3" and row["support_loss"] for row in rows)  # skipped ones as they were mapped


@pytest.mark.parametrize(("row", "said"), [("a,s.tif", "no labels"), ("a,s.tif,p.gpkg,more", "more cells")])
def test_a_row_that_is_not_as_long_as_the_table_is_named(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "regions.csv"
    path.write_text(f"name,scene,labels\n{row}\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=f"regions.csv, line 2: {said}"):
        read_regions(path, tmp_path, common(path))


def test_columns_of_a_region_overrule_the_options(tmp_path: Path) -> None:
    path = tmp_path / "regions.csv"
    text = "name,scene,labels,bands,label_field,validation,classes\n"
    path.write_text(text + 'a,one.tif; two.tif,a.shp,"1,2",kind,truth.tif,t.csv\nb,b.tif,b.shp,,,,\n', encoding="utf-8")
    (_, first), (_, second) = read_regions(path, tmp_path / "to", common(path, bands=("B4",)))
    assert first.scenes == (str(tmp_path / "one.tif"), str(tmp_path / "two.tif"))
    assert first.bands == (1, 2) and second.bands == ("B4",)
    assert first.labels is not None and second.labels is not None
    assert (first.labels.field, first.labels.validation) == ("kind", tmp_path / "truth.tif")
    assert (second.labels.field, second.labels.validation) == (None, None)
    assert (first.classes, second.classes) == (tmp_path / "t.csv", None)
    assert second.to == tmp_path / "to" / "b" / "map.tif"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,scene\na,b\n", "expected name, scene, labels"),
        ("name,scene,labels,colour\na,b,c,d\n", "expected name, scene, labels"),
        ("name,scene,labels\n", "0 regions"),
        ("name,scene,labels\na,b,c\na,d,e\n", "'a' cannot name a region"),
        ("name,scene,labels\n../a,b,c\n", "cannot name a region"),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "regions.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        read_regions(path, tmp_path, common(path))
    with pytest.raises(DataNotFoundError):
        read_regions(tmp_path / "none.csv", tmp_path, common(path))


def test_bands_are_names_or_numbers() -> None:
    assert split_bands("1, 3,2") == (1, 3, 2)
    assert split_bands("B4,B3") == ("B4", "B3")
    assert split_bands("") == ()


def test_a_map_needs_one_model(tmp_path: Path) -> None:
    arguments = ["map", "--scene", "a.tif", "--labels", "l.gpkg", "--to", str(tmp_path / "map.tif")]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2 and "one of --model and --server" in result.output
