"""A region to a map: a few labels in, a georeferenced land-cover map out."""
