"""What is asked of the pictures of a scene. Next to nothing is imported, so that help comes at once."""

from dataclasses import dataclass
from typing import Literal

from fewshot.errors import RecipeError
from fewshot.geo.codes import Codes, read_codes

Composing = Literal["", "median", "mean", "ndvi", "stack"]
"""What may be asked for; "" where nothing is."""

COMPOSITES: tuple[Composing, ...] = ("median", "mean", "ndvi", "stack")
"""Pixel by pixel the median, the mean or the date with the greatest NDVI; or dates as further bands."""


@dataclass(frozen=True)
class PicturePlan:
    """Which files of a scene are read, and how they become one.

    Attributes:
        assets: Names of the files of a product or a STAC item that are read; those with the product's bands if empty.
        mask: The name of a band or file of the scene, such as "SCL", or a raster: what of it is left out is no data.
        mask_out: Which numbers of the mask are left out, as `read_codes` reads them; what is usual for it if empty.
        composite: How several dates become one scene, one of `COMPOSITES`; if "", the median of dates that are told
            apart without looking at the files' own names.
    """

    assets: tuple[str, ...] = ()
    mask: str = ""
    mask_out: str = ""
    composite: Composing = ""

    def __post_init__(self) -> None:
        """Check what goes together."""
        if self.mask_out and not self.mask:
            raise RecipeError("--mask-out says which values of a mask are left out; name the mask with --mask")
        if self.composite not in ("", *COMPOSITES):
            raise RecipeError(f"--composite is one of {', '.join(COMPOSITES)}; received {self.composite}")
        if self.mask_out:
            read_codes(self.mask_out)

    @property
    def codes(self) -> Codes | None:
        """Which numbers of the mask are left out, where that is said."""
        return read_codes(self.mask_out) if self.mask_out else None
