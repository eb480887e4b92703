"""Ends a process with its parent, so that even a killed parent leaves no orphans (Linux)."""

import ctypes
import os
import signal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, how: signal.Signals) -> None:
    """Make the kernel send ``how`` to this process when its ``parent`` (a pid) ends.

    Lasts until the next exec of a set-uid program and is not inherited by children. The
    kernel watches the *thread* that started this process, so parents start us from their
    main thread. Raises OSError where the kernel refuses, SystemExit if the parent is gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    # Because the parent may have ended before the prctl.
    if os.getppid() != parent:
        raise SystemExit(1)
