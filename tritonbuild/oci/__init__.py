"""Images without an engine: registries, layouts and archives, layer indexes, planning, layers, manifests.

The embedded engine is `python -m tritonbuild.oci`; `tritonbuild.backends.embedded` registers it.
"""

from typing import Final

VERSION: Final = "2"
"""Of the embedded engine: another one where the same request may give another image."""
