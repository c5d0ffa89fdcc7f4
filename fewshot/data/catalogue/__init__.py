"""The data sets that the program knows: manifests, downloads, checks."""
