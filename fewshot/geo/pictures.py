"""Pictures: what a user names as a scene, sorted by when it was recorded, with its bands and its mask."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fewshot.errors import RasterError, RecipeError
from fewshot.geo.composing import COMPOSITES, Composing
from fewshot.geo.downloads.finding import open_products
from fewshot.geo.downloads.product import Product
from fewshot.geo.layers import Layer, open_layer
from fewshot.geo.masks import Codes, Mask, codes_of, find_mask, is_named, read_codes
from fewshot.geo.names import short_name
from fewshot.geo.products import date_in
from fewshot.geo.rasters import describe_raster


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


@dataclass(frozen=True)
class Picture:
    """What was recorded on one day.

    Attributes:
        date: As "2024-06-01"; "" where it is not known.
        layers: Its files.
    """

    date: str
    layers: tuple[Layer, ...]


def open_pictures(sources: Sequence[str | Path], plan: PicturePlan) -> tuple[Picture, ...]:
    """Find the files of a scene, and when they were recorded.

    Args:
        sources: Rasters, products as they are downloaded, and STAC items; "2024-06-01=file.tif" says the date.
        plan: Which of their files are read.

    Returns:
        By date; one picture where no dates are told apart.

    Raises:
        DataNotFoundError: if a file does not exist.
        RasterError: if one cannot be read, or has no mask or asset of the name, or no date and needs one.
        RecipeError: if what is asked for does not fit together.
    """
    found: dict[str, list[Layer]] = {}
    named = [(*split_date(source), open_products(split_date(source)[1])) for source in sources]
    if plan.assets and not any(products for _, _, products in named):
        raise RecipeError("--assets chooses files of a product or a STAC item; a raster's bands are named with --bands")
    for date, name, products in named:
        if products is None:
            layer = _plain(name, plan)
            found.setdefault(date or (_date_of(layer) if plan.composite else ""), []).append(layer)
        for product in products or ():
            found.setdefault(date or product.date, []).extend(_layers(product, plan))
    if not found:
        raise RasterError("no scene was named; expected at least one raster")
    if len(found) > 1 and "" in found:
        raise RasterError(
            f"{found[''][0].source} has no date, while others have one ({', '.join(filter(None, found))}). Say it "
            "before the name, such as 2024-06-01=scene.tif"
        )
    return tuple(Picture(date, tuple(found[date])) for date in sorted(found))


def split_date(source: str | Path) -> tuple[str, str]:
    """Return the date before a name, "2024-06-01=file.tif", and the name; "" where there is none."""
    before, _, name = str(source).partition("=")
    date = date_in(before) if re.fullmatch(r"[\d-]{8,10}", before) else ""
    return (date, name) if date else ("", str(source))


def _date_of(layer: Layer) -> str:
    """Return when a raster was recorded, as its tags or its name say.

    Raises:
        RasterError: if neither says it.
    """
    if layer.info.recorded:
        return layer.info.recorded
    raise RasterError(
        f"neither the tags nor the name of {layer.source} say when it was recorded; say it before the name, such as "
        f"2024-06-01={layer.source}"
    )


def _plain(source: str, plan: PicturePlan) -> Layer:
    """Return a raster with its mask."""
    layer = open_layer(source)
    if not plan.mask:
        return layer
    if not is_named(plan.mask):
        return replace(layer, mask=_mask_file(plan))
    mask = find_mask(plan.mask, source, layer.info, plan.codes)
    return replace(layer.without(mask.band) if mask.source == source else layer, mask=mask)


def _mask_file(plan: PicturePlan) -> Mask:
    """Return the mask that is a file of its own."""
    describe_raster(plan.mask)
    return Mask(plan.mask, codes_of(short_name(plan.mask), plan.codes))


def _layers(product: Product, plan: PicturePlan) -> list[Layer]:
    """Return the files of a product that are read, with its mask."""
    chosen = [product.find(name) for name in plan.assets or product.bands]
    mask = None
    if plan.mask and not is_named(plan.mask):
        mask = _mask_file(plan)
    elif plan.mask:
        mask = Mask(product.find(plan.mask).source, codes_of(plan.mask, plan.codes))
    return [replace(asset.open(), mask=mask) for asset in chosen]
