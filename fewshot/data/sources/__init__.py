"""Where regions come from, one file a source."""
