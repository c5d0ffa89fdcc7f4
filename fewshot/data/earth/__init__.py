"""The simulator: a made-up Earth, which says nothing about the real one."""
