"""What can map a region, as `--method` names it; nothing is imported here, so that help comes at once."""

METHODS = ("prototypes", "logistic", "nearest", "forest", "boosting", "adapted")
"""The simplest first, by what they fit: means, a line a class, all labelled pixels, trees, more trees, a network."""
AUTO = "auto"
"""The best of them on the region's own labels."""
