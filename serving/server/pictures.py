"""How large a picture in a file is, by its head alone."""

from __future__ import annotations

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's markers of segments that begin with the size


def picture_size(file: bytes) -> tuple[int, int] | None:
    """Return rows and columns of a PNG or JPEG file; None where its head does not tell them."""
    if file.startswith(PNG) and len(file) >= 24:
        return int.from_bytes(file[20:24], "big"), int.from_bytes(file[16:20], "big")
    return _jpeg_size(file) if file.startswith(JPEG) else None


def _jpeg_size(file: bytes) -> tuple[int, int] | None:
    """Go from segment to segment: a marker of two bytes, then a length that counts itself."""
    at = len(JPEG)
    while at + 9 <= len(file) and file[at] == 0xFF:
        marker = file[at + 1]
        if marker in FRAMES:
            return int.from_bytes(file[at + 5 : at + 7], "big"), int.from_bytes(file[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(file[at + 2 : at + 4], "big")
    return None
