"""Tasks: drawn from regions, frozen in lists, streamed as meta-batches."""
