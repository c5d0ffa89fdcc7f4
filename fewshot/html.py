"""Tables and pictures as HTML, as notebooks show them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

_CELL = "text-align: {}; padding: 2px 8px"


def html_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first column to the left and the others to the right.

    Args:
        title: Above it.
        heads: Of the columns.
        rows: Cells, as many as heads each.
    """
    lines = [("th", heads), *(("td", row) for row in rows)]
    body = "".join(f"<tr>{''.join(_cell(tag, text, at) for at, text in enumerate(row))}</tr>" for tag, row in lines)
    return f'<table><caption style="text-align: left; font-weight: bold">{escape(title)}</caption>{body}</table>'


def html_lines(lines: Sequence[str]) -> str:
    """Return sentences, a line each."""
    return "".join(f"<div>{escape(line)}</div>" for line in lines)


def html_picture(png: bytes, said: str) -> str:
    """Return a picture; `said` is what it shows, for those who do not see it."""
    return f'<img alt="{escape(said)}" style="max-width: 100%" src="data:image/png;base64,{b64encode(png).decode()}">'


def _cell(tag: str, text: str, at: int) -> str:
    return f'<{tag} style="{_CELL.format("right" if at else "left")}">{escape(text)}</{tag}>'
