"""The embedded engine: composes an image from layers, without a builder, as `python -m tritonbuild.embedded`.

In: a request (JSON) and options. Out: the image in registries, layouts and archives; its digests in a file of JSON.
Called by `tritonbuild.backends.embedded`, which registers it.
"""

from typing import Final

VERSION: Final = "2"
"""The version of the embedded engine; it changes when the same request may give another image."""
