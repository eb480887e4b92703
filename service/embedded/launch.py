"""Becomes a server process: drops root, asks to be killed with the parent, execs.

Run as a script, never imported: ``launch.py UID GID PARENT_PID SIGNAL PROGRAM [ARG...]``.
A process of its own, because ``preexec_fn`` is not safe in a parent that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    uid, gid, parent, death_signal = (int(number) for number in sys.argv[1:5])
    command = sys.argv[5:]
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid, because a change of user id clears the death signal.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended before its server started")
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606  # no shell: the list is the caller's


if __name__ == "__main__":
    main()
