"""The page's finished map is the command's, to the bit."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser import steps
from tests.browser.conftest import ROOT

Open = Callable[..., Any]


def labelled(open_page: Open) -> Any:
    """A page with four labels of each class, its finish and commands in sight."""
    page = open_page()
    steps.add_classes(page)
    steps.label_by_mouse(page, steps.places(each=4))
    steps.wait_for_labels(page, 12)
    page.get_by_text("Finish", exact=True).click()
    page.get_by_text("The same as a command").click()
    return page


def test_map_all_downloads_what_the_copied_command_makes(open_page: Open, tmp_path: Path) -> None:
    page = labelled(open_page)
    steps.until(page, "() => document.querySelector('#finish textarea').value.includes(' && fewshot map ')")
    cd, folder, _, _, *command = shlex.split(page.get_by_label("Command", exact=True).input_value())
    assert (cd, Path(folder)) == ("cd", Path.cwd())
    page.get_by_role("button", name="Map all").click()
    page.locator("#jobs .done, #jobs .failed").wait_for(timeout=90_000)
    link = page.get_by_role("link", name="map.tif", exact=True)
    assert link.count() == 1, page.locator("#jobs").inner_text()
    with page.expect_download() as download:
        link.click()
    mapped = tmp_path / "page.tif"
    download.value.save_as(mapped)

    own = tmp_path / "command.tif"
    command[command.index("--to") + 1] = str(own)
    subprocess.run([sys.executable, ROOT / "cli.py", *command], check=True, capture_output=True, cwd=folder)
    assert mapped.read_bytes() == own.read_bytes()


def test_methods_are_compared_in_a_table_and_commands_are_as_the_fields_are(open_page: Open, tmp_path: Path) -> None:
    page = labelled(open_page)
    page.get_by_role("button", name="Compare methods", exact=True).click()
    page.get_by_role("row", name="logistic").wait_for(timeout=90_000)

    kind, command = page.locator("#finish select"), page.get_by_label("Command", exact=True)
    shown = "(end) => document.querySelector('#finish textarea').value.endsWith(end)"
    kind.select_option("sample")
    page.get_by_label("Places", exact=True).fill("75")
    page.get_by_label("Places", exact=True).press("Tab")
    steps.until(page, shown, "--n 75")
    kind.select_option("assess")
    steps.until(page, "() => document.querySelector('#finish textarea').value.startsWith('# choose the file')")
    (tmp_path / "seen.csv").write_text("x,y,class\n")
    page.get_by_label("Labelled sample").set_input_files(tmp_path / "seen.csv")
    steps.until(page, shown, "assessment.json")
    assert any(text.endswith(".csv") for text in shlex.split(command.input_value()))
