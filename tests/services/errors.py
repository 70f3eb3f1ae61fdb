"""The errors of services.

::

    Exception
    └── ServiceError             a service failed
        └── MissingProgramError  a program that it needs is missing
"""

from __future__ import annotations


class ServiceError(Exception):
    """A service failed to start, answer or stop."""


class MissingProgramError(ServiceError):
    """A program is missing on this machine: a test that needs it is skipped, or fails if the program is required."""

    def __init__(self, program: str, hint: str = "") -> None:
        self.program = program
        super().__init__(f"{program!r} is not on this machine{hint and f': {hint}'}")
