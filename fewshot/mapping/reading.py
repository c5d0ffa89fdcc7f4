"""What a user says of a scene."""

from dataclasses import dataclass
from typing import Literal

from fewshot.geo.composing import PicturePlan


@dataclass(frozen=True)
class Reading:
    """What a user says of a scene's bands and numbers, where its files do not or are wrong.

    Attributes:
        bands: The name of each of the scene's bands, or the number in the scene of each of the model's.
        sensor: What recorded the scene, such as "landsat7".
        scale: What one digital number is worth in the unit of the network, or "auto" for numbers as they are stored,
            which only models take whose card says so (their default); what the product or the card says if None.
        offset: Added after scaling; what the product or the card says if None.
        pictures: Which files are read, what of them is left out, and how several dates become one scene.
    """

    bands: tuple[str | int, ...] = ()
    sensor: str = ""
    scale: float | Literal["auto"] | None = None
    offset: float | None = None
    pictures: PicturePlan = PicturePlan()

    @property
    def factor(self) -> float | None:
        """The scale, where it is a number."""
        return None if isinstance(self.scale, str) else self.scale


AS_IT_SAYS = Reading()
"""For scenes that say all of it themselves."""
