"""From the labels of a region to a model that is adapted to them."""
