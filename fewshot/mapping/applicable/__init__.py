"""Where a map holds: the space that the method sees, how far the labels reach in it, and where to label next."""
