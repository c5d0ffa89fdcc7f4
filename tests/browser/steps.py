"""What people do on the page."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
from PIL import Image

from tests.browser.conftest import PATIENCE, SIDE
from tests.mapping import fakes

TRUTH = fakes.draw_truth(SIDE, SIDE, cell=24)


def add_classes(page: Any, names: tuple[str, ...] = fakes.CLASSES) -> None:
    """Add classes by the dialog; their keys are 1, 2, 3."""
    for name in names:
        page.get_by_role("button", name="Add class").click()
        page.get_by_label("Name").fill(name)
        page.keyboard.press("Enter")
        page.get_by_role("radio", name=name).wait_for()


def places(each: int) -> list[tuple[int, int, int]]:
    """Return places (column, row, number of the class) that show each class."""
    points = fakes.draw_points(TRUTH, each, seed=3)
    return [(column, row, fakes.CLASSES.index(name)) for row, column, name in points]


def on_screen(page: Any, column: float, row: float) -> tuple[float, float]:
    """Return where a place of the scene is on the screen."""
    script = """async ([column, row]) => {
        const { map, toMap } = await import("/static/scene.js");
        const box = map.getContainer().getBoundingClientRect();
        const { x, y } = map.latLngToContainerPoint(toMap([column, row]));
        return [box.x + x, box.y + y];
    }"""
    x, y = page.evaluate(script, [column, row])
    return x, y


def click(page: Any, column: float, row: float) -> None:
    """Click a place of the scene."""
    page.mouse.click(*on_screen(page, column, row))


def label_by_mouse(page: Any, spots: list[tuple[int, int, int]]) -> None:
    """Choose classes by their names and click places."""
    for column, row, number in spots:
        page.locator("#classes label").nth(number).click()
        click(page, column + 0.5, row + 0.5)


def label_by_keys(page: Any, spots: list[tuple[int, int, int]]) -> None:
    """Choose classes by their keys and move the crosshair to places: far with the arrows alone, the rest by pixels."""
    page.locator("#map").focus()
    for column, row, number in spots:
        page.keyboard.press(str(number + 1))
        page.keyboard.press("Shift+ArrowRight")
        while (at := _crosshair(page)) != (column, row):
            for have, want, less, more in zip(
                at, (column, row), ("ArrowLeft", "ArrowUp"), ("ArrowRight", "ArrowDown"), strict=True
            ):
                fine = "Shift+" if abs(want - have) < 10 else ""
                if want != have:
                    page.keyboard.press(f"{fine}{more if want > have else less}")
        page.keyboard.press("Space")


def _crosshair(page: Any) -> tuple[int, int]:
    _, column, _, row = page.locator("#place").inner_text().replace(",", "").split()
    return int(column), int(row)


def until(page: Any, script: str, value: Any = None) -> None:
    """Wait until a function of the page answers true. The page's rules forbid Playwright's own way, which is `eval`.

    Args:
        page: Where it is asked.
        script: Of the function.
        value: Handed to it.
    """
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script, value):
        assert time.monotonic() < end, f"the page never came to {script} with {value}"
        page.wait_for_timeout(50)


def wait_for_labels(page: Any, count: int) -> None:
    """Wait until the server has so many labels and the page shows its newest state."""
    until(
        page,
        """async (count) => {
            const { state } = await import("/static/state.js");
            const own = await (await fetch("/api/project")).json();
            return own.labels.length === count && state.project.revision === own.revision;
        }""",
        count,
    )


def wait_for_revision(page: Any, before: int) -> None:
    """Wait until the page shows a state that is newer than one."""
    until(page, "async (before) => (await import('/static/state.js')).state.project.revision > before", before)


def wait_for_map(page: Any, after: str = "") -> str:
    """Wait for a finished live map that is newer than another, and return what it is called."""
    until(
        page,
        """(after) => {
            const live = document.querySelector("#stage").dataset.live ?? "";
            const shown = [...document.querySelectorAll("img.live")];
            return live.endsWith("/fine") && live !== after && shown.some(({ src }) => src.includes(live));
        }""",
        after,
    )
    return str(page.locator("#stage").get_attribute("data-live"))


def wait_for_scene(page: Any) -> None:
    """Wait until the scene is shown."""
    until(
        page,
        """() => {
            const tiles = [...document.querySelectorAll(".leaflet-scene-pane img")];
            return tiles.length > 0 && tiles.every((own) => own.classList.contains("leaflet-tile-loaded"));
        }""",
    )


def picture(page: Any) -> np.ndarray:
    """Return the pixels of the map on the screen [H, W, 3] as int."""
    png = page.locator("#stage").screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def plain_tile(colour: tuple[int, int, int]) -> bytes:
    """Return a tile of one colour as PNG."""
    file = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(file, "PNG")
    return file.getvalue()


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """Return the share of pixels whose colour differs plainly."""
    return float((np.abs(before - after).max(axis=-1) > 24).mean())


def project(page: Any) -> dict[str, Any]:
    """Return what the server has."""
    found: dict[str, Any] = page.evaluate("fetch('/api/project').then((answer) => answer.json())")
    return found
