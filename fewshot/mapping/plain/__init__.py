"""Plain classifiers of pixels, behind the same interface as exported models, so that they map in the same way."""
