"""What edits do to a state, and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fewshot.errors import RecipeError
from fewshot.label.edits import KEYS, PALETTE, apply_steps
from fewshot.label.state import ProjectState
from tests.label.conftest import add_class, add_point


@pytest.fixture
def state() -> ProjectState:
    """Water with two labels, forest with one."""
    labels = [add_point("l0", 0, 1, 1), add_point("l1", 0, 2, 2), add_point("l2", 1, 3, 3)]
    return apply_steps(ProjectState(), [[add_class("Water", 0), add_class("Forest", 1), *labels]])


def after(state: ProjectState, **edit: Any) -> ProjectState:
    return apply_steps(state, [[{key.rstrip("_"): value for key, value in edit.items()}]])


def test_classes_get_the_next_colour_and_key(state: ProjectState) -> None:
    assert [(own.colour, own.key) for own in state.classes.values()] == [(PALETTE[0], "1"), (PALETTE[1], "2")]
    more = apply_steps(state, [[add_class(f"more {number}", number) for number in range(2, 40)]])
    assert len({own.colour for own in more.classes.values()}) == 40
    assert [own.key for own in more.classes.values()] == [*KEYS, *[""] * 31]


def test_merging_moves_the_labels(state: ProjectState) -> None:
    merged = after(state, op="merge_class", from_="c0", into="c1")
    assert merged.counts == {"c1": 3}
    assert list(merged.labels) == ["l0", "l1", "l2"]


def test_deleting_a_class_takes_its_labels_with_it(state: ProjectState) -> None:
    assert list(after(state, op="delete_class", id="c0").labels) == ["l2"]


def test_a_class_is_named_anew_and_keeps_the_rest(state: ProjectState) -> None:
    (own, _) = after(state, op="change_class", id="c0", name="  Deep   lake ").classes.values()
    assert (own.name, own.colour, own.key) == ("Deep lake", PALETTE[0], "1")


def test_labels_change_their_class_and_place(state: ProjectState) -> None:
    moved = after(
        after(state, op="set_class", ids=["l0", "l1"], class_="c1"), op="set_geometry", id="l0", coordinates=[9, 8]
    )
    assert moved.counts == {"c0": 0, "c1": 3}
    assert moved.labels["l0"].coordinates == (9.0, 8.0)


def test_rings_are_closed(state: ProjectState) -> None:
    drawn = after(state, op="add_label", id="p", class_="c0", kind="polygon", coordinates=[[[0, 0], [0, 4], [4, 4]]])
    assert drawn.labels["p"].coordinates == (((0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (0.0, 0.0)),)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"op": "ad_label"}, "Did you mean 'add_label'"),
        ({"op": "add_label", "id": "x"}, "class_ is missing"),
        ({"op": "add_label", "id": "l0", "class_": "c1", "kind": "point", "coordinates": [1, 1]}, "another label l0"),
        ({"op": "add_label", "id": "a b", "class_": "c1", "kind": "point", "coordinates": [1, 1]}, "an id is"),
        ({"op": "add_label", "id": "x", "class_": "c1", "kind": "spot", "coordinates": [1, 1]}, "kind = 'spot'"),
        (
            {"op": "add_label", "id": "x", "class_": "c1", "kind": "point", "coordinates": [1, "1"]},
            r"are \[column, row\]",
        ),
        (
            {"op": "add_label", "id": "x", "class_": "c1", "kind": "point", "coordinates": [1, 1e12]},
            r"are \[column, row\]",
        ),
        (
            {"op": "add_label", "id": "x", "class_": "c1", "kind": "line", "coordinates": [[1, 1], [1, 1]]},
            "2 different",
        ),
        ({"op": "add_label", "id": "x", "class_": "c1", "kind": "polygon", "coordinates": []}, "3 different"),
        (
            {"op": "add_label", "id": "x", "class_": "c1", "kind": "brush", "coordinates": [[1, 1]]},
            "a width in pixels, more than 0",
        ),
        (
            {
                "op": "add_label",
                "id": "x",
                "class_": "c1",
                "kind": "line",
                "coordinates": [[1, 1], [2, 2]],
                "width": 1e6,
            },
            "0 on and less than",
        ),
        ({"op": "set_geometry", "id": "gone", "coordinates": [1, 1]}, "no label 'gone'"),
        ({"op": "delete_labels", "ids": ["l0", "l0"]}, "no label 'l0'"),
        ({"op": "add_class", "id": "c0", "name": "More"}, "a class c0 already"),
        ({"op": "add_class", "id": "c9", "name": "water"}, "Water has the name water"),
        ({"op": "add_class", "id": "c9", "name": " "}, "1 to 80 letters"),
        ({"op": "add_class", "id": "c9", "name": "x", "colour": "red"}, "#rrggbb"),
        ({"op": "change_class", "id": "c1", "key": "1"}, "Water has the key 1"),
        ({"op": "merge_class", "from_": "c0", "into": "c0"}, "same twice"),
        ({"op": "merge_class", "from_": "c0", "into": "c8"}, "no class 'c8'"),
    ],
)
def test_what_does_not_fit_is_refused(state: ProjectState, edit: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        after(state, **edit)


@pytest.mark.parametrize("step", [None, [], "add_label", [7], [None], {"op": "add_label"}])
def test_a_step_is_a_list_of_edits(step: Any) -> None:
    with pytest.raises(RecipeError):
        apply_steps(ProjectState(), [step])
