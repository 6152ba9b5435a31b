"""What a sandboxed process gives up, by the kernel's own means: system calls (seccomp) and files (Landlock).

This file is run inside the sandbox by its path, so it imports nothing but the standard library. Both means work
without any privilege; what the system lacks is reported, never assumed.

    seccomp    https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
    Landlock   https://www.kernel.org/doc/html/latest/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

__all__ = ["confine_calls", "confine_files"]

# Denied: network, processes and threads, signals to others, looking into others, changing the machine. Per
# architecture: the word that names it in a filter, and the numbers from asm/unistd_64.h and asm-generic/unistd.h.
_DENIED: Mapping[str, tuple[int, tuple[int, ...]]] = MappingProxyType(
    {
        "x86_64": (
            0xC000003E,
            (
                *(41, 42, 53, 240),  # socket connect socketpair mq_open
                *(56, 57, 58, 59, 322, 435),  # clone fork vfork execve execveat clone3
                *(62, 129, 200, 234, 297, 424, 434, 438),  # kill, queued signals, pidfd_*
                *(101, 310, 311, 312, 440),  # ptrace process_vm_* kcmp process_madvise
                *(141, 142, 144, 203, 251, 302, 314),  # priorities, affinity and limits of others
                *(29, 64, 68, 248, 249, 250),  # System V memory, semaphores, queues; keys
                *(161, 165, 166, 272, 304, 308),  # chroot mount umount2 unshare open_by_handle_at setns
                *(256, 279, 298, 317, 321, 323, 425),  # pages of others, perf, seccomp, bpf, userfaultfd, io_uring
            ),
        ),
        "aarch64": (
            0xC00000B7,
            (
                *(198, 199, 203, 180),
                *(220, 221, 281, 435),
                *(129, 130, 131, 138, 240, 424, 434, 438),
                *(117, 270, 271, 272, 440),
                *(30, 118, 119, 122, 140, 261, 274),
                *(186, 190, 194, 217, 218, 219),
                *(39, 40, 51, 97, 265, 268),
                *(238, 239, 241, 277, 280, 282, 425),
            ),
        ),
    }
)
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # the refused call fails with EPERM
_X32 = 0x40000000

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
_O_PATH = 0o10000000


def confine_calls() -> bool:
    """Refuse the system calls above, from now on and for good. False where the system cannot."""
    if sys.platform != "linux" or platform.machine() not in _DENIED:
        return False
    architecture, denied = _DENIED[platform.machine()]
    # Read the architecture, then the number; jump to the last instruction for whatever is denied.
    checks = [(_AT_LEAST, _X32)] if platform.machine() == "x86_64" else []
    checks += [(_EQUAL, number) for number in denied]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(checks) + 2, architecture), (_LOAD, 0, 0, 0)]
    program += [(code, len(checks) - index, 0, value) for index, (code, value) in enumerate(checks)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(packed)))
    libc = ctypes.CDLL(None, use_errno=True)
    return (
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(header)), 0, 0) == 0
    )


def confine_files(readable: Sequence[str], scratch: str) -> bool:
    """See only the paths in `readable`, write only below `scratch`, for good. False where the system cannot."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << (13 if version == 1 else 14 if version == 2 else 15 if version < 5 else 16)) - 1
    network, scopes = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    attributes = struct.pack("=QQQ", rights, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    allowed = [(path, _READ_FILE | _READ_FOLDER) for path in readable if os.path.exists(path)]
    for path, wanted in (*allowed, (scratch, rights)):
        place = os.open(path, _O_PATH | os.O_CLOEXEC)
        granted = wanted & rights & (-1 if os.path.isdir(path) else _FILE_RIGHTS)
        failed = libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", granted, place), 0)
        os.close(place)
        if failed:
            return False
    done: bool = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return done
