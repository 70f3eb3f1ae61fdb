"""OCI images and registries, as the specifications name them, with no word of Triton.

In: references, credentials, files. Out: manifests, configurations and blobs, read from and written to registries,
layouts and archives. Called by `embedded`.
"""
