"""JSON as TF Serving reads and writes it: documents, its words for what is wrong with them, and numbers.

TF Serving reads with RapidJSON: its sentences and offsets are what clients know, and it takes `Inf` for infinity.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson

from fewshot.exported.status import invalid

# Python's sentence: RapidJSON's, which clients of TF Serving know.
SENTENCES = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
# A string to its end, or to that of the text where it has none: so every character is looked at once, whatever is sent.
STRING = r'"(?:[^"\\]|\\[\s\S])*+"?'
# A string, which stays as it is, or a spelling of infinity or not-a-number that Python does not read.
ODD_NUMBER = re.compile(rf"{STRING}|-NaN\b|\bInf\b")
LONGEST_QUOTE = 1000
DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


def read_document(body: bytes | bytearray) -> dict[str, Any]:
    """Read a request's body.

    Raises:
        StatusError: INVALID_ARGUMENT if it is not a JSON object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _read_leniently(body.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {quote(document)} Is not object")
    return document


def _read_leniently(text: str) -> Any:
    """Read what is not strictly JSON, as far as TF Serving reads it, and say what is wrong as it does."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return _read_odd_numbers(text, error)
    except RecursionError:
        raise invalid("JSON Parse error: The document is nested too deeply.") from None
    except ValueError:  # more digits than Python turns into a number
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None


def quote(value: Any) -> str:
    """Return a value as JSON for a message, the beginning of it if it is long."""
    if isinstance(value, float):
        return decimals(np.asarray(value))[0]
    parts, length = [], 0
    for part in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        parts.append(part)
        length += len(part)
        if length > LONGEST_QUOTE:
            return "".join(parts)[:LONGEST_QUOTE] + "..."
    return "".join(parts)


def decimals(array: np.ndarray) -> list[str]:
    """Write numbers as TF Serving does: six digits where they say it all, else as many as are needed to read them back.

    Args:
        array: float32 or float64, any shape.

    Returns:
        One text a value, in order; infinities and not-a-number as bare words.
    """
    flat = array.ravel()
    values = flat.tolist()
    texts = [f"{value:.6g}" for value in values]
    with np.errstate(over="ignore"):
        again = np.array(texts, dtype=np.float64).astype(flat.dtype)
    longer = np.flatnonzero((again != flat) & np.isfinite(flat)).tolist()
    form = f"%.{DIGITS[flat.dtype]}g "
    written = (form * len(longer) % tuple(values[i] for i in longer)).split()
    for i, text in zip(longer, written, strict=True):
        texts[i] = text
    texts = [text if "." in text or "e" in text else text + ".0" for text in texts]
    for i in np.flatnonzero(~np.isfinite(flat)).tolist():
        texts[i] = "NaN" if np.isnan(flat[i]) else "-Infinity" if flat[i] < 0 else "Infinity"
    return texts


def _read_odd_numbers(text: str, error: json.JSONDecodeError) -> Any:
    def respell(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith('"') else {"-NaN": "NaN", "Inf": "Infinity"}[found]

    respelled = ODD_NUMBER.sub(respell, text)
    if respelled != text:
        try:
            return json.loads(respelled)
        except (ValueError, RecursionError):
            pass
    sentence = SENTENCES.get(error.msg)
    if sentence is None:  # a missing comma, in whichever kind of brackets
        inside = _open_bracket(text[: error.pos])
        sentence = f"Missing a comma or {'] after an array element' if inside == '[' else '} after an object member'}."
    if error.pos >= len(text.rstrip()) and not text.strip():
        sentence = "The document is empty."
    offset = len(text[: error.pos].encode("utf-8", "surrogateescape"))
    raise invalid(f"JSON Parse error: {sentence} at offset: {offset}") from None


def _open_bracket(text: str) -> str:
    stack = []
    for token in re.findall(rf"{STRING}|[][{{}}]", text):
        if token in "[{":
            stack.append(token)
        elif token in "]}" and stack:
            stack.pop()
    return stack[-1] if stack else ""
