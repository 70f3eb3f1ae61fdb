"""The embedded engine: composes an image from layers, without a builder, as `python -m tritonbuild.embedded`.

In: a request (JSON) and options. Out: the image in registries, layouts and archives; its digests in a JSON file.
Called by `tritonbuild.backends.embedded`, which registers the engine.
"""

from typing import Final

VERSION: Final = "3"
"""The version of the embedded engine; it changes when an equal request may give a different image."""
