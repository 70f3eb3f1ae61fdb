"""What can go wrong while the source images are made."""


class ReplicaError(Exception):
    """One lower-case sentence that says what is missing or failed, and what to do."""
