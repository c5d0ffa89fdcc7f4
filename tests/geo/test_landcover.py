import tomllib
from pathlib import Path

import numpy as np
import pytest

from fewshot.errors import DamagedDataError, DataNotFoundError, ManifestError
from fewshot.geo.landcover import DEEPGLOBE, IGBP, ClassTable, LandClass, class_table, read_class_table

MANIFESTS = Path(__file__).resolve().parents[2] / "data_manifests"
CSV = """id,name,colour,ignored
1,Water,#0000ff,
2,Forest,00ff00,no
3,Forest,00ff00,no
9,Cloud,,yes
"""


def test_the_ten_classes_have_the_seventeen_numbers() -> None:
    assert sorted(number for entry in IGBP.classes for number in entry.ids) == list(range(1, 18))
    found = IGBP.indices(np.arange(1, 18), where="x")
    expected = "Forests " * 5 + "Shrubland " * 2 + "Savanna " * 2 + "Grassland Wetlands Croplands Urban_Build-up "
    expected += "Croplands Snow_Ice Barren Water"
    assert [IGBP.names[index] for index in found] == expected.split()


@pytest.mark.parametrize(("name", "table"), [("sen12ms", IGBP), ("deepglobe", DEEPGLOBE)])
def test_the_manifests_say_the_same(name: str, table: ClassTable) -> None:
    listed = tomllib.loads((MANIFESTS / f"{name}.toml").read_text(encoding="utf-8"))["classes"]
    found = [
        LandClass(entry["name"], tuple(entry["ids"]), tuple(entry["colour"]), entry.get("ignored", False))
        for entry in listed
    ]
    assert tuple(found) == table.classes


def test_a_table_from_csv_merges_rows_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(CSV, encoding="utf-8-sig")  # as spreadsheets write it
    table = read_class_table(path)
    assert table.names == ("Water", "Forest")
    assert table.colours == {0: (0, 0, 255), 1: (0, 255, 0)}
    assert table.indices(np.array([[1, 2], [3, 9]]), where="x").tolist() == [[0, 1], [1, -1]]
    path.write_text(CSV.replace(",", ";"))
    assert read_class_table(path).classes == table.classes


def test_a_table_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(
        'name = "fields"\n[[classes]]\nid = 0\nname = "Wheat"\ncolour = [255, 200, 0]\n'
        '[[classes]]\nids = [3, 4]\nname = "Maize"\n[[classes]]\nid = 255\nname = "unknown"\nignored = true\n'
    )
    table = read_class_table(path)
    assert (table.name, table.names) == ("fields", ("Wheat", "Maize"))
    assert table.index_of("maize", where="x") == 1
    assert table.index_of(4.0, where="x") == 1
    assert table.index_of("4", where="x") == 1
    assert table.index_of("unknown", where="x") == -1


def test_an_unknown_class_is_named_with_the_nearest() -> None:
    with pytest.raises(ManifestError, match="fields.gpkg has class 'Watr'.*Did you mean 'Water'.*Forests .1/2/3/4/5"):
        IGBP.index_of("Watr", where="fields.gpkg")


def test_an_unknown_number_is_counted_and_may_be_nodata() -> None:
    ids = np.array([[1, 77], [77, 17]], np.uint8)
    with pytest.raises(
        ManifestError, match=r"lc.tif, Window: 77 \(2 pixels\) stand for no class in class table simplified IGBP"
    ):
        IGBP.indices(ids, where="lc.tif, Window")
    assert IGBP.indices(ids, valid=ids != 77, where="x").tolist() == [[0, -1], [-1, 9]]


def test_numbers_of_a_raster_of_floats_are_whole() -> None:
    assert IGBP.indices(np.array([1.0, 17.0], np.float32), where="x").tolist() == [0, 9]
    with pytest.raises(ManifestError, match=r"1\.5"):
        IGBP.indices(np.array([1.0, 1.5], np.float32), where="x")


def test_colours_of_a_mask_are_cut_where_compression_blurred_them() -> None:
    mask = np.array([[[2, 254, 251], [255, 255, 0]], [[128, 0, 200], [127, 3, 0]]], np.uint8)
    assert DEEPGLOBE.indices_of_colours(mask, cut=128, where="m.png").tolist() == [[0, 1], [2, -1]]
    with pytest.raises(DamagedDataError, match=r"m.png: 3 pixels .* \(2, 254, 251\) at row 0, column 0; .*urban"):
        DEEPGLOBE.indices_of_colours(mask, where="m.png")
    with pytest.raises(DamagedDataError, match=r"\[H, W, 3\].*received \[2, 2\]"):
        DEEPGLOBE.indices_of_colours(mask[..., 0], where="m.png")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": 1}], "class 1 has no name"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "has id 1 twice"),
        ([{"id": 1, "name": "a", "colour": "#12345"}], "expected '#rrggbb'"),
        ([{"id": 1, "name": "a", "colour": [0, 0, 256]}], "of 0-255"),
        ([{"id": 1, "name": "a", "color": "#123456"}], "unknown key 'color'; did you mean 'colour'"),
        ([{"id": "one", "name": "a"}], "expected whole numbers"),
        ([{"id": 1, "name": "a", "ignored": "perhaps"}], "expected true or false"),
        ([{"id": 1, "name": "a", "ignored": True}], "no class that counts"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a", "ignored": True}], "differ in colour or ignored"),
    ],
)
def test_a_broken_table_says_what_is_wrong(rows: list[dict[str, object]], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        class_table("t", rows)


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no class table"):
        read_class_table(tmp_path / "none.csv")
    (tmp_path / "x.toml").write_text("a = [")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_class_table(tmp_path / "x.toml")
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(ManifestError, match="has no class; expected a CSV with columns id, name"):
        read_class_table(tmp_path / "x.csv")
