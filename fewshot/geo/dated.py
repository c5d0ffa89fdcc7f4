"""Places whose date is known."""

from dataclasses import dataclass

from fewshot.geo.windows import IntArray


@dataclass(frozen=True, eq=False)
class DatedPlaces:
    """Pixels whose date is known, such as those of labels.

    Attributes:
        rows: [n] int64.
        columns: [n] int64.
        days: [n] int64, counted as `datetime.date.toordinal` does.
    """

    rows: IntArray
    columns: IntArray
    days: IntArray
