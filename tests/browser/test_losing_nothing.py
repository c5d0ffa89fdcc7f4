"""What people did is done, once, whatever becomes of the server and its answers; and the door leads in."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewshot.commands.label import write_door
from tests.browser import steps
from tests.browser.conftest import LabelServer

Open = Callable[..., Any]


@pytest.fixture
def page(open_page: Open) -> Any:
    """A page of three classes and three labels."""
    page = open_page()
    steps.add_classes(page)
    steps.label_by_mouse(page, steps.places(each=1))
    steps.wait_for_labels(page, 3)
    return page


def test_what_was_not_answered_is_sent_to_the_server_that_comes_back(page: Any, server: LabelServer) -> None:
    server.stop(signal.SIGKILL)
    steps.label_by_mouse(page, [(100, 100, 0), (110, 60, 1)])
    page.get_by_text("is kept here and sent again").wait_for()
    server.start()
    page.get_by_text("started anew").first.wait_for()
    tab = page.context.new_page()
    tab.goto(server.address)
    tab.wait_for_selector("body[data-ready]")
    steps.wait_for_labels(page, 5)
    page.get_by_text("Saved", exact=True).wait_for()
    steps.wait_for_labels(tab, 5)
    tab.keyboard.press("Control+z")
    steps.wait_for_labels(page, 4)  # it listens again


def lose_first_answer(page: Any, path: str) -> list[Any]:
    """Let the server do what is first asked of a path, and let nobody hear of it; return what it has answered."""
    lost: list[Any] = []

    def lose_the_first(route: Any) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch())
        route.abort()

    page.route(path, lose_the_first)
    return lost


def test_an_undo_whose_answer_is_lost_is_done_once(page: Any) -> None:
    lost = lose_first_answer(page, "**/api/undo")
    page.keyboard.press("Control+z")
    page.get_by_text("is kept here and sent again").wait_for()
    page.get_by_text("is kept here and sent again").wait_for(state="detached")
    assert lost and len(steps.project(page)["labels"]) == 2


def test_a_file_whose_import_is_not_answered_comes_in_once_and_before_what_follows(page: Any, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("column,row,class\n20,30,water\n40,50,forest\n")
    lost = lose_first_answer(page, "**/api/import?*")
    page.get_by_text("Files", exact=True).click()
    page.get_by_label("Import labels").set_input_files(tmp_path / "more.csv")
    page.get_by_text("is kept here and sent again").wait_for()
    steps.label_by_mouse(page, [(100, 100, 0)])
    steps.wait_for_labels(page, 6)
    page.get_by_text("Saved", exact=True).wait_for()
    assert lost and steps.project(page)["labels"][-1]["coordinates"] == pytest.approx([100.5, 100.5], abs=1)


def test_moves_that_are_not_answered_yet_add_up(page: Any) -> None:
    held: list[Any] = []
    (column, row), *_ = (label["coordinates"] for label in steps.project(page)["labels"])
    page.keyboard.press("v")
    steps.click(page, column, row)
    page.get_by_text("Selected point").wait_for()
    page.locator("#map").focus()
    page.route("**/api/edits", lambda route: held.append(route))
    for _ in range(3):
        page.keyboard.press("Alt+ArrowDown")
    for number in range(3):
        while len(held) <= number:
            page.wait_for_timeout(20)
        page.keyboard.press("Alt+ArrowRight")
        held[number].continue_()
    page.unroute("**/api/edits")
    for route in held[3:]:
        route.continue_()
    page.get_by_text("Saved", exact=True).wait_for()
    assert steps.project(page)["labels"][0]["coordinates"] == pytest.approx([column + 3, row + 3])


def test_the_file_that_is_opened_leads_to_the_page(chromium: Any, server: LabelServer, tmp_path: Path) -> None:
    window = chromium.new_context()
    page = window.new_page()
    page.goto(write_door(tmp_path / "open.html", server.address).as_uri())
    page.wait_for_selector("body[data-ready]")
    assert "token" not in page.url
    window.close()
