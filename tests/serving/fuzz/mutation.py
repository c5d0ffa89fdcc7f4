"""Bytes changed at random, as an attacker's fuzzer changes them; the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

TOKENS = (
    *(b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 9 + b"\x01", b"\x80" * 20, b"\r\n", b"\r\n\r\n", b"%00", b"../"),
    *(b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u0000", b"\\ud800", b",", b":", b"null", b"NaN", b"-Infinity", b"1e999"),
    *(b"9" * 400, b"[" * 400, b'{"b64":', b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0"),
)


def mutated(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """One of the seeds after one to eight changes."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 8)):
        dice.choice(CHANGES)(data, seeds, dice)
    return bytes(data)


def _at(data: bytearray, dice: random.Random) -> int:
    return dice.randint(0, len(data))


def _flip(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _set(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.randrange(256)


def _insert(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    at = _at(data, dice)
    data[at:at] = dice.choice(TOKENS)


def _delete(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    at = _at(data, dice)
    del data[at : at + dice.randint(1, 16)]


def _repeat(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    at = _at(data, dice)
    data[at:at] = data[at : at + dice.randint(1, 32)] * dice.randint(1, 50)


def _splice(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    other = dice.choice(seeds)
    data[_at(data, dice) :] = other[dice.randint(0, len(other)) :]


CHANGES: tuple[Callable[[bytearray, Sequence[bytes], random.Random], None], ...] = (
    *(_flip, _set, _insert, _delete, _repeat, _splice),
)
