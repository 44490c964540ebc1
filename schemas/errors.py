"""Every error that LatentLode raises on purpose.

LodeError                     the root; `lode` prints it in one line, without a traceback
├── InputError                what came in is wrong: an argument, a setting, an array      (exit 2)
│   ├── MissingBackendError   a registry entry needs a package that is not installed       (exit 2)
│   └── ConflictError         the target holds something else, nothing was overwritten     (exit 2)
├── StorageError              reading or writing failed: full disk, no permission          (exit 1)
│   └── CorruptDataError      stored bytes are not what their receipt says                 (exit 1)
└── RunError                  a run could not be completed                                 (exit 1)
    └── LostWorkerError       a worker process or a node died; the work may be tried again (exit 1)

A message says who, what came, what was expected, and what to do next.
"""


class LodeError(Exception):
    """Root of the errors that LatentLode raises on purpose."""

    exit_status = 1


class InputError(LodeError, ValueError):
    """What came in is wrong, found before any work was done."""

    exit_status = 2


class MissingBackendError(InputError):
    """A registry entry needs a package that is not installed."""


class ConflictError(InputError):
    """The target already holds something else; nothing was overwritten."""


class StorageError(LodeError):
    """Reading or writing failed."""


class CorruptDataError(StorageError):
    """Stored bytes are not what their receipt or schema says."""


class RunError(LodeError):
    """A run could not be completed."""


class LostWorkerError(RunError):
    """A worker process or a node died; the work may be tried again."""
