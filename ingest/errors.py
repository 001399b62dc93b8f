"""Errors that a person reads: each message is one line that says what happened and what to do."""


class MianpuError(Exception):
    """A failure with a message for the person at the keyboard; the command prints it and exits with status 1."""


class UsageError(MianpuError):
    """The request itself is wrong (a path that does not exist, an unknown name); exit status 2."""


class LibraryBusy(MianpuError):
    """Another process is writing to the library."""


class Interrupted(MianpuError):
    """The person stopped the work; what was finished is kept and the next run goes on from there."""
