"""Pictures: what a user names as a scene, sorted by when it was recorded, with its bands and its mask."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fewshot.errors import RasterError, RecipeError
from fewshot.geo.codes import codes_of
from fewshot.geo.composing import PicturePlan
from fewshot.geo.downloads.finding import open_products
from fewshot.geo.downloads.product import Asset, Product
from fewshot.geo.masks import find_mask, is_named
from fewshot.geo.mosaic import Layer, Mask, Picture, open_layer
from fewshot.geo.names import is_folder, short_name
from fewshot.geo.products import split_date
from fewshot.geo.rasters import describe_raster


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
    try:
        layer = open_layer(source)
    except RasterError as error:
        if not is_folder(source):
            raise
        raise RasterError(
            f"{source} is a folder without the file that describes a product (MTD_MSIL1C.xml or MTD_MSIL2A.xml of "
            "Sentinel-2, ..._MTL.txt of Landsat), and no raster; name a product's own folder, or its rasters"
        ) from error
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
    return [replace(_of_product(asset), mask=mask) for asset in chosen]


def _of_product(asset: Asset) -> Layer:
    """Describe a file by what it and its product say."""
    layer = open_layer(asset.source)
    info = layer.info
    told = replace(info, sensor=asset.sensor or info.sensor)
    if info.bands == 1:
        spectra = (asset.spectrum,) if asset.spectrum.wavelength else info.spectra
        told = replace(told, names=(asset.name,), spectra=spectra)
    return replace(layer, info=told.stating(asset.scaling), nodata=asset.nodata if info.nodata is None else None)
