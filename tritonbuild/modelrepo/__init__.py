"""Model repositories: the components that the models in local folders need.

In: folders of models, and a release (`read`, then `components`). Out: for each model its needs with the reason for
each, and the components of the release as keywords of a `Composition`. Callers: the command line and library users.
"""

from __future__ import annotations

from tritonbuild.modelrepo.choice import components
from tritonbuild.modelrepo.reading import read
from tritonbuild.modelrepo.records import Model, Need, Problem, Repository, Selection

__all__ = ["Model", "Need", "Problem", "Repository", "Selection", "components", "read"]
