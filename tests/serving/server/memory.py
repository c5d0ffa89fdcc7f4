"""What the process holds."""

import ctypes
import os
from pathlib import Path


def resident() -> int:
    """Bytes of memory that this process holds, after what glibc keeps of freed memory was given back."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
