"""Keep the memory of one training step for the next one."""

from __future__ import annotations

import ctypes
import platform

# From <malloc.h>; the values are part of glibc's binary interface.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST = 2**31 - 1  # mallopt takes an int
_MAPPED_FROM = 2**30  # bytes; below it, blocks come from the heap and stay there


def keep_freed_memory() -> bool:
    """Tell glibc to keep what torch frees, where it would give it back to the system.

    An activation of a convolution is larger than the 32 MB up to which glibc reuses memory, so
    each is mapped, zeroed page by page and unmapped again in every step: 3 to 5 million page
    faults in five steps of MobileNetV2 at 224 x 224 and batch 32, and half of the time of a step
    (docs/speed.md). What stays is the peak of one step. Call it before the first large tensor;
    other C libraries, and GPUs, whose memory torch keeps itself, need none of it.

    Returns:
        Whether the allocator takes the settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Older releases refuse thresholds over 32 MB; then no block is mapped at all.
    is_set = mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM) or mallopt(_M_MMAP_MAX, 0)
    return bool(is_set and mallopt(_M_TRIM_THRESHOLD, _LARGEST))
