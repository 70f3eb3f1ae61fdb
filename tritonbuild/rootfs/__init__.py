"""The root file system of an image as a tree over its layers: links, loader, accounts, Python environments.

In: layers with their indexes. Out: resolved paths, shared libraries, the loader's cache, account files.
Called by `embedded`.
"""
