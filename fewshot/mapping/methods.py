"""What can map a region, as `--method` names it; nothing is imported here, so that help comes at once."""

METHODS = (
    *("prototypes", "logistic", "nearest", "surroundings", "forest", "boosting"),
    *("features+logistic", "adapted", "combined"),
)
"""The simplest first, by what they fit: means, a line a class, all labelled pixels, a line a class with neighbours,
trees, more trees, a line a class on a network's features, a network, a network and a line."""
AUTO = "auto"
"""The best of them on the region's own labels."""
