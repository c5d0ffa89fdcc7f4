"""Numbers as TF Serving writes them in JSON."""

from __future__ import annotations

import numpy as np

DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


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


def decimal(value: np.ndarray) -> str:
    """Write one number."""
    return decimals(np.asarray(value))[0]
