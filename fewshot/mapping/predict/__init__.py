"""From windows to probabilities, here, on workers or on a cluster."""
