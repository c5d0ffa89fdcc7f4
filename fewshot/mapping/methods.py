"""What can map a region, as `--method` names it; nothing is imported here, so that help comes at once."""

from typing import NamedTuple

METHODS = (
    *("prototypes", "logistic", "nearest", "surroundings", "forest", "boosting"),
    *("features+logistic", "adapted", "combined"),
)
"""The simplest first, by what they fit: means, a line a class, all labelled pixels, a line a class with neighbours,
trees, more trees, a line a class on a network's features, a network, a network and a line."""
AUTO = "auto"
"""The best of them on the region's own labels."""


class Entry(NamedTuple):
    """What can map.

    Attributes:
        method: As `--method` takes it.
        model: Name of the model that it asks; "" where there is one alone, and for plain classifiers.
    """

    method: str
    model: str = ""

    def __str__(self) -> str:
        """Say both."""
        return f"{self.method} of {self.model}" if self.model else self.method
