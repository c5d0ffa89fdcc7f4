"""Products as people download them, and STAC items: which files hold which band, and what their numbers are worth."""
