"""The catalog over HTTP."""

from services.catalog.routes.bundles import blueprint as bundles
from services.catalog.routes.compose import blueprint as compose
from services.catalog.routes.internal import blueprint as internal
from services.catalog.routes.internal import bundles_blueprint as internal_bundles
from services.catalog.routes.projects import blueprint as projects
from services.catalog.routes.registries import blueprint as registries
from services.catalog.routes.versions import blueprint as versions

BLUEPRINTS = (registries, bundles, projects, versions, compose, internal, internal_bundles)
