"""The allocator's settings for training: freed memory stays with the process."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # that every glibc accepts


def keep_freed() -> bool:
    """Let malloc serve large arrays from its heap and never give that back; false where malloc has no such settings.

    A step allocates and frees the same arrays, of many megabytes, again and again. Given back to the kernel each time
    they come anew page by page, cleared: a quarter of the time of a step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return False
    kept = mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    return bool(kept and (mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)))
