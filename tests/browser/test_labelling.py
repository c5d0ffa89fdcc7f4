"""People label a scene, see the map follow, and find everything again."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import steps
from tests.browser.conftest import LabelServer
from tests.mapping import fakes

Open = Callable[..., Any]


@pytest.fixture
def page(open_page: Open) -> Any:
    page = open_page()
    steps.add_classes(page)
    return page


def test_six_places_by_mouse_and_keys_make_a_map_that_outlives_the_server(
    page: Any, open_page: Open, server: LabelServer
) -> None:
    steps.wait_for_scene(page)
    empty = steps.picture(page)
    spots = steps.places(each=2)
    steps.label_by_mouse(page, spots[:3])
    steps.label_by_keys(page, spots[3:])
    steps.wait_for_labels(page, 6)
    page.get_by_text("Saved", exact=True).wait_for()
    whole = steps.wait_for_map(page)
    mapped = steps.picture(page)
    assert steps.changed(empty, mapped) > 0.2
    found = {tuple(map(int, label["coordinates"])) for label in steps.project(page)["labels"]}
    assert found == {(column, row) for column, row, _ in spots}

    page.keyboard.press("Control+z")
    steps.wait_for_labels(page, 5)
    steps.wait_for_map(page, after=whole)
    before = steps.project(page)

    server.stop(signal.SIGKILL)
    server.start()
    again = open_page()
    after = steps.project(again)
    assert [after[name] for name in ("revision", "classes", "labels")] == [
        before[name] for name in ("revision", "classes", "labels")
    ]
    again.get_by_role("button", name="Redo").click()
    steps.wait_for_labels(again, 6)


def test_where_the_model_applies_is_a_layer_beside_the_map(page: Any) -> None:
    steps.label_by_mouse(page, steps.places(each=4))
    steps.wait_for_labels(page, 12)
    steps.wait_for_map(page)
    page.get_by_text("Swipe between two sides").click()
    page.get_by_label("Left of it").select_option("Applicability")
    steps.until(page, "() => [...document.querySelectorAll('img.live')].some(({ src }) => src.includes('applicable'))")
    assert re.search(r"It holds on \d+ % of what you see", page.locator("#legend").inner_text())
    steps.until(page, "() => document.querySelectorAll('img.live').length === 2")


def test_two_tabs_agree(page: Any, open_page: Open) -> None:
    other = open_page()
    steps.label_by_mouse(page, steps.places(each=1))
    steps.wait_for_labels(other, 3)
    other.keyboard.press("Control+z")
    steps.wait_for_labels(page, 2)
    assert page.locator("#classes").inner_text() == other.locator("#classes").inner_text()


def test_shapes_are_drawn_selected_moved_and_deleted(page: Any) -> None:
    page.keyboard.press("g")
    for column, row in [(20, 20), (60, 20), (60, 50)]:
        steps.click(page, column, row)
    page.keyboard.press("Enter")
    page.keyboard.press("l")
    for column, row in [(100, 20), (140, 60)]:
        steps.click(page, column, row)
    page.get_by_role("button", name="Done").click()
    page.keyboard.press("b")
    page.mouse.move(*steps.on_screen(page, 40, 120))
    page.mouse.down()
    page.mouse.move(*steps.on_screen(page, 80, 150), steps=6)
    page.mouse.up()
    steps.wait_for_labels(page, 3)
    polygon, line, brush = steps.project(page)["labels"]
    assert [label["kind"] for label in (polygon, line, brush)] == ["polygon", "line", "brush"]
    assert brush["width"] > 0
    assert max(abs(a - b) for a, b in zip(line["coordinates"][1], (140, 60), strict=True)) < 0.5

    page.keyboard.press("v")
    steps.click(page, 120, 40)
    page.get_by_text("Selected line").wait_for()
    page.locator("#map").focus()
    before = steps.project(page)["revision"]
    page.keyboard.press("Alt+ArrowDown")
    steps.wait_for_revision(page, before)
    moved = next(label for label in steps.project(page)["labels"] if label["kind"] == "line")
    assert moved["coordinates"] == [[column, row + 1] for column, row in line["coordinates"]]

    page.mouse.move(*steps.on_screen(page, *moved["coordinates"][1]))
    page.mouse.down()
    page.mouse.move(*steps.on_screen(page, 150, 30), steps=6)
    page.mouse.up()
    steps.wait_for_revision(page, before + 1)
    dragged = next(label for label in steps.project(page)["labels"] if label["kind"] == "line")
    assert dragged["coordinates"][1] == pytest.approx([150, 30], abs=1)

    page.keyboard.press("Delete")
    steps.wait_for_labels(page, 2)


def test_classes_are_renamed_merged_and_deleted(page: Any) -> None:
    steps.label_by_mouse(page, steps.places(each=1))
    page.get_by_role("button", name="Edit water").click()
    page.get_by_label("Name").fill("lake")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Edit lake").click()
    page.get_by_label("Merge into").select_option("forest")
    page.get_by_role("button", name="Merge", exact=True).click()
    page.get_by_role("radio", name="lake").wait_for(state="detached")
    page.get_by_role("button", name="Edit town").click()
    page.get_by_role("button", name="Delete class").click()
    page.get_by_role("radio", name="town").wait_for(state="detached")
    assert [own["name"] for own in steps.project(page)["classes"]] == ["forest"]
    steps.wait_for_labels(page, 2)


def test_a_name_or_key_of_another_class_is_not_to_be_had(page: Any) -> None:
    page.get_by_role("radio", name="town").check()
    page.get_by_role("button", name="Add class").click()
    page.get_by_label("Name").fill(" Water")
    page.keyboard.press("Enter")
    assert page.locator("#class-dialog input:invalid").count() == 1
    assert page.locator("#class-dialog option").all_inner_texts() == ["none", *"456789"]
    page.get_by_label("Name").fill("lake")
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="lake").wait_for()
    assert [own["name"] for own in steps.project(page)["classes"]] == [*fakes.CLASSES, "lake"]


def test_labels_go_out_and_come_back(page: Any, tmp_path: Path) -> None:
    steps.label_by_mouse(page, steps.places(each=2))
    steps.wait_for_labels(page, 6)
    before = steps.project(page)["labels"]
    page.get_by_text("Files", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="GeoPackage").click()
    file = tmp_path / "labels.gpkg"
    download.value.save_as(file)
    for _ in before:
        page.keyboard.press("Control+z")
    steps.wait_for_labels(page, 0)
    page.get_by_label("Import labels").set_input_files(file)
    steps.wait_for_labels(page, 6)
    back = steps.project(page)["labels"]
    assert [label["class"] for label in back] == [label["class"] for label in before]
    for label, again in zip(before, back, strict=True):
        assert again["coordinates"] == pytest.approx(label["coordinates"], abs=1e-3)


def test_n_goes_to_a_place_that_the_map_is_unsure_of_and_space_labels_it(page: Any) -> None:
    steps.label_by_mouse(page, steps.places(each=2))
    steps.wait_for_map(page)
    page.locator("#map").focus()
    page.keyboard.press("n")
    page.locator(".suggestion.now").wait_for()
    page.get_by_text("1 of ").wait_for()
    suggested = page.locator("#place").inner_text()
    page.keyboard.press("Space")
    steps.wait_for_labels(page, 7)
    column, row = steps.project(page)["labels"][-1]["coordinates"]
    assert suggested == f"column {int(column)}, row {int(row)}"


def test_a_click_on_a_suggestion_labels_its_very_place(page: Any) -> None:
    steps.label_by_mouse(page, steps.places(each=2))
    steps.wait_for_map(page)
    page.get_by_role("button", name="Suggest places").click()
    mark = page.locator(".suggestion").first
    mark.wait_for()
    place = page.evaluate("async () => (await import('/static/suggestions.js')).places[0]")
    assert mark.get_attribute("title") == place["reason"]
    mark.click(position={"x": 4, "y": 8})
    steps.wait_for_labels(page, 7)
    assert steps.project(page)["labels"][-1]["coordinates"] == [place["column"], place["row"]]


def test_a_class_that_is_answered_late_does_not_take_the_place_of_one_chosen_since(page: Any) -> None:
    held: list[Any] = []
    page.route("**/api/edits", lambda route: held.append(route))
    steps.add_classes(page, ("late",))
    assert page.get_by_role("radio", name="late").is_checked()
    page.get_by_role("radio", name="water").check()
    page.get_by_text("Saving", exact=False).wait_for()
    held.pop().continue_()
    page.get_by_text("Saved", exact=True).wait_for()
    assert page.get_by_role("radio", name="water").is_checked()


def test_labels_that_contradict_each_other_are_marked(page: Any) -> None:
    steps.label_by_mouse(page, [(50, 60, 0), (50, 60, 1), (90, 30, 2)])
    steps.wait_for_labels(page, 3)
    page.locator(".clash").first.wait_for()
    assert page.locator(".clash").count() == 2
    assert "Contradictions\n2 labels" in page.locator("#figures").inner_text()
