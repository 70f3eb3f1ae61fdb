"""Layers: tar, gzip and zstd streams, the index of a layer and its cache, writing and splicing new layers.

In: the bytes of a source layer, the items of a new one. Out: a layer index; a compressed layer with its digests.
Called by `rootfs` and `embedded`.
"""
