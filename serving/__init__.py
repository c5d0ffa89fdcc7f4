"""Serving: what an exported model says of itself, how it is exported, and how it answers requests."""
