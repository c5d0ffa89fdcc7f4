"""The page is for everyone: assistive technology, narrow and magnified screens, no network."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import steps
from tests.browser.conftest import LabelServer

Open = Callable[..., Any]
WIDTHS = {"desk": 1280, "magnified to 200 %": 640, "phone": 400, "smallest": 320}


def violations(page: Any) -> list[str]:
    """Return what axe-core finds that is serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        f"{found['id']}: {[node['html'] for node in found['nodes']]}"
        for found in axe.run(page).response["violations"]
        if found["impact"] in ("serious", "critical")
    ]


def test_axe_finds_nothing_serious(open_page: Open) -> None:
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        if scheme == "light":
            steps.add_classes(page)
            steps.label_by_mouse(page, steps.places(each=2))
            steps.wait_for_map(page)
        for closed in page.locator("aside > details:not([open]) > summary").all()[::-1]:
            closed.click()
        page.get_by_text("Swipe between two sides").click()
        page.keyboard.press("v")
        steps.click(page, *steps.project(page)["labels"][0]["coordinates"])
        page.get_by_text("Selected point").wait_for()
        assert violations(page) == []
        page.get_by_role("button", name="Edit water").click()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert violations(page) == []


def test_no_width_needs_scrolling_sideways(open_page: Open) -> None:
    page = open_page()
    steps.add_classes(page)
    for name, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        map_box, list_box = (page.locator(own).bounding_box() for own in ("#map", "#classes"))
        assert map_box["height"] >= 256 and map_box["width"] >= min(width, 600), name
        assert list_box["y"] + 40 < 800, name


def test_a_finger_labels_a_place(open_page: Open) -> None:
    page = open_page(viewport={"width": 400, "height": 800}, has_touch=True)
    steps.add_classes(page)
    page.touchscreen.tap(*steps.on_screen(page, 60, 70))
    steps.wait_for_labels(page, 1)
    assert steps.project(page)["labels"][0]["coordinates"] == pytest.approx([60, 70], abs=1)


def test_all_is_done_by_keys_alone(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#add-class").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("water")
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="water").wait_for()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    steps.until(page, "() => document.activeElement.id === 'map'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    steps.wait_for_labels(page, 1)
    page.keyboard.press("v")
    page.keyboard.press("Space")
    page.get_by_text("Selected point").wait_for()
    page.keyboard.press("Delete")
    steps.wait_for_labels(page, 0)
    page.keyboard.press("Control+z")
    steps.wait_for_labels(page, 1)


def test_a_background_lies_under_the_scene_once_it_is_asked_for(chromium: Any, scene: Path, tmp_path: Path) -> None:
    server = LabelServer(scene, tmp_path / "project", ("--background", "https://tiles.invalid/{z}/{x}/{y}.png")).start()
    asked: list[str] = []
    with chromium.new_context(viewport={"width": 1000, "height": 700}) as window:
        page = window.new_page()

        def answer(route: Any) -> None:
            asked.append(route.request.url)
            route.fulfill(body=steps.plain_tile((200, 30, 60)), content_type="image/png")

        page.route("https://tiles.invalid/**", answer)
        page.goto(server.address)
        page.wait_for_selector("body[data-ready]")
        steps.wait_for_scene(page)
        assert not asked
        before = steps.picture(page)
        page.get_by_text("Picture", exact=True).click()
        page.get_by_label("Background of tiles.invalid").check()
        steps.until(page, "() => [...document.querySelectorAll('img.ground')].some(({ naturalWidth }) => naturalWidth)")
        after = steps.picture(page)
    server.stop(signal.SIGKILL)
    assert (after == np.array([200, 30, 60])).all(axis=2).mean() > 0.3
    middle = (slice(300, 400), slice(280, 380))
    assert steps.changed(before[middle], after[middle]) == 0
    assert all(url.startswith("https://tiles.invalid/") for url in asked)
