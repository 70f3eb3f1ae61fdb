"""The error of creating the source images."""


class ReplicaError(Exception):
    """A failure, as one lower-case sentence with the cause and the remedy."""
