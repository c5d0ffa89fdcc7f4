"""What a map consists of: rasters, picture, report, accuracy."""
