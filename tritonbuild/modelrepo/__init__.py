"""A model repository, and the components that its models need.

`read` looks at folders and says of each model what it needs and why; `components` gives what a release has of it, as
keywords of a Composition.
"""

from __future__ import annotations

from tritonbuild.modelrepo.choice import components
from tritonbuild.modelrepo.reading import read
from tritonbuild.modelrepo.records import Model, Need, Problem, Repository, Selection

__all__ = ["Model", "Need", "Problem", "Repository", "Selection", "components", "read"]
