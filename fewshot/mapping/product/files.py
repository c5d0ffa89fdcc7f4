"""What the files of a map are called."""

from pathlib import Path


class Outputs:
    """A map, `map.tif`, and the files beside it, which are named after it.

    Attributes:
        map: Classes.
        confidence: Greatest probability.
        probabilities: Of every class.
        names: Of the classes, as GDAL reads them.
        style: For QGIS.
        picture: Quick-look.
        applicable: Where the method is applicable, where that was asked for.
        dissimilarity: How unlike the labels places are, there too.
        suggested: Places to label next, where they were asked for; people write into it.
        suggested_style: Of these, for QGIS.
        reliability: Accuracy over confidence, where methods were compared on enough labels.
        report: What was run.
        all: All of these, the map last.
    """

    def __init__(self, to: Path) -> None:
        """Name the files; none is written yet."""
        self.map = to
        self.confidence = to.with_name(f"{to.stem}_confidence.tif")
        self.probabilities = to.with_name(f"{to.stem}_probabilities.tif")
        self.applicable = to.with_name(f"{to.stem}_applicable.tif")
        self.dissimilarity = to.with_name(f"{to.stem}_dissimilarity.tif")
        self.suggested = to.with_name(f"{to.stem}_label_next.gpkg")
        self.suggested_style = self.suggested.with_suffix(".qml")
        self.reliability = to.with_name(f"{to.stem}_reliability.png")
        self.names = to.with_name(f"{to.name}.aux.xml")
        self.style, self.picture, self.report = (to.with_suffix(suffix) for suffix in (".qml", ".png", ".json"))
        self.all = (
            *(self.confidence, self.probabilities, self.applicable, self.dissimilarity, self.suggested_style),
            *(self.suggested, self.names, self.style, self.picture, self.reliability, self.report),
            self.map,
        )
