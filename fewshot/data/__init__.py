"""Where regions come from: one small reader a source."""
