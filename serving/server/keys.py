r"""Keys that clients show, as `Authorization: Bearer KEY`: the server knows their SHA-256 alone.

A line of the file is the SHA-256 of a key, 64 hexadecimal digits, and then whatever helps people: whose key it is.
Empty lines and those that begin with # are passed over. Keys are random, so that no slower digest is needed:

    openssl rand -hex 32 > my.key && tr -d '\n' < my.key | sha256sum >> keys
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import time
from pathlib import Path

from fewshot.errors import RecipeError

logger = logging.getLogger("serving")

DIGEST = re.compile(r"([0-9a-f]{64})(?:\s.*)?", re.IGNORECASE)
LOOK_EVERY = 1.0  # seconds
SCHEME = "bearer "


class ApiKeys:
    """The keys of a file, read again when the file changes. Safe to ask from many threads."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            RecipeError: if it is not there, holds no key, or a line that is none.
        """
        self._path = path
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._digests = read_digests(path)
        self._looked = time.monotonic()

    def admits(self, authorization: str) -> bool:
        """Return whether what a client shows is one of the keys; it takes as long whichever it is."""
        shown = authorization[len(SCHEME) :].strip() if authorization.lower().startswith(SCHEME) else ""
        digest = hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest()
        with self._lock:
            self._look()
            found = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(found)

    def _look(self) -> None:
        """Read the file again if it is another; one that cannot be read leaves the keys as they are."""
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._digests = read_digests(self._path)
            logger.info("Read %d keys from %s.", len(self._digests), self._path)
        except RecipeError as error:
            logger.error("%s The keys stay as they were.", error)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_size, found.st_ino


def read_digests(path: Path) -> list[bytes]:
    """Return the SHA-256 of each key of a file.

    Raises:
        RecipeError: if it is not there, holds no key, or a line that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"--api_key_file: {path} cannot be read: {error}.") from None
    digests = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        found = DIGEST.fullmatch(line)
        if found is None:
            raise RecipeError(
                f"--api_key_file: line {number} of {path} does not begin with the SHA-256 of a key, 64 hexadecimal "
                "digits. Write it with: tr -d '\\n' < KEY | sha256sum"
            )
        digests.append(bytes.fromhex(found[1]))
    if not digests:
        raise RecipeError(f"--api_key_file: {path} holds no key, so that nobody could be let in.")
    return digests
