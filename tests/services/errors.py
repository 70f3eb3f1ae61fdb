"""What a service raises.

::

    Exception
    └── ServiceError             a service did what it should not, or did not do what it should
        └── MissingProgramError  a program that it needs is not on this machine
"""

from __future__ import annotations


class ServiceError(Exception):
    """A service did not start, answer or stop as it should."""


class MissingProgramError(ServiceError):
    """A program is not on this machine: a test that needs it is skipped, or fails if it is required."""

    def __init__(self, program: str, hint: str = "") -> None:
        self.program = program
        super().__init__(f"{program!r} is not on this machine{hint and f': {hint}'}")
