"""The allocator of main memory, for computing on a CPU."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
NEVER, NONE = -1, 0
# The environment variables by which a user sets the allocator; see mallopt(3).
OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> None:
    """Let glibc keep what this process frees, for the next tensors.

    By itself it gives large blocks back to the system at once, and the system clears every page
    that it hands out again: a fifth of the time of a step of large towers. The process then holds
    its largest size to its end. Nothing changes with another C library, or where the user has set
    one of `OF_THE_USER`.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in OF_THE_USER):
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_TRIM_THRESHOLD, NEVER)
    library.mallopt(M_MMAP_MAX, NONE)
