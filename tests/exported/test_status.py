"""The table of status codes: whole, gRPC's own, and read back from HTTP."""

from __future__ import annotations

import grpc
import pytest

from fewshot import errors
from fewshot.exported.status import BY_HTTP, BY_NUMBER, CODES, code_of


def leaves(kind: type[Exception]) -> list[type[Exception]]:
    found = [kind]
    for child in kind.__subclasses__():
        found += leaves(child)
    return found


def test_every_error_of_the_tree_has_a_code() -> None:
    tree = [kind for kind in leaves(errors.FewshotError) if kind.__module__ == "fewshot.errors"]
    assert len(tree) >= 10
    codes = {kind.__name__: code_of(kind("words")) for kind in tree}
    assert codes["ShapeError"] == codes["TaskError"] == "INVALID_ARGUMENT"
    assert codes["DataNotFoundError"] == "NOT_FOUND"
    assert [name for name, code in codes.items() if code == "INTERNAL"] == ["FewshotError"]


def test_codes_are_grpcs_own() -> None:
    numbers = {name: number for name, (number, _) in CODES.items()}
    assert {code.name: code.value[0] for code in grpc.StatusCode} == numbers
    assert {status for _, status in CODES.values()} >= {400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 504}
    assert all(BY_NUMBER[code.number] == name for name, code in CODES.items())


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (413, "RESOURCE_EXHAUSTED"),
        (429, "RESOURCE_EXHAUSTED"),
        (499, "CANCELLED"),
        (500, "UNKNOWN"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_http_has_one_name_each(status: int, name: str) -> None:
    assert BY_HTTP[status] == name
