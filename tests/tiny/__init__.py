"""Tiny source images, a registry with them, and a proxy that misbehaves: what tests of the embedded engine share."""
