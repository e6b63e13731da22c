"""Config bundles: configuration that deployments share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from kernel import clock
from kernel.contracts.config import Config, parse_config
from kernel.db import Database
from kernel.errors import Conflict
from kernel.principal import Principal
from services.catalog.domain import ConfigBundle
from services.catalog.store import registries as store
from services.catalog.usecases.configs import patched
from services.catalog.usecases.events import bundle_json, tell_change
from services.catalog.usecases.registries import Changes, CheckRevision


def create(db: Database, who: Principal, *, name: str, description: str, config: Config) -> ConfigBundle:
    """Raises Invalid, Conflict `name-taken`."""
    now = clock.now()
    bundle = ConfigBundle(
        id=clock.new_id(),
        team_id=who.team,
        name=name,
        description=description,
        config=parse_config(config),
        created_at=now,
        updated_at=now,
    )
    with db.team(who.team) as session:
        store.add_bundle(session, bundle)
        tell_change(session, who.envelope_facts(), "config_bundle.created", bundle, before=None, after=bundle_json(bundle))
    return bundle


def find(db: Database, who: Principal, bundle_id: UUID) -> ConfigBundle:
    with db.team(who.team) as session:
        return store.get_bundle(session, who.team, bundle_id)


def listed(db: Database, who: Principal, *, limit: int, after: tuple[str, UUID] | None) -> list[ConfigBundle]:
    """One more than `limit`."""
    with db.team(who.team) as session:
        return store.list_bundles(session, who.team, limit=limit + 1, after=after)


def change(db: Database, who: Principal, bundle_id: UUID, changes: Changes, check: CheckRevision) -> ConfigBundle:
    """Deployments see it at their next start. Raises Invalid, NotFound, PreconditionFailed, Conflict `name-taken`."""
    with db.team(who.team) as session:
        old = store.get_bundle(session, who.team, bundle_id, lock=True)
        check(old.revision)
        values: dict[str, Any] = dict(changes)
        if "config" in values:
            values["config"] = patched(old.config, values["config"])
        new = replace(old, **values, updated_at=clock.now(), revision=old.revision + 1)
        store.save_bundle(session, new)
        tell_change(session, who.envelope_facts(), "config_bundle.changed", new, before=bundle_json(old), after=bundle_json(new))
    return new


def delete(db: Database, who: Principal, bundle_id: UUID, check: CheckRevision) -> None:
    """Raises Conflict `config-bundle-in-use` while a deployment uses it."""
    with db.team(who.team) as session:
        bundle = store.get_bundle(session, who.team, bundle_id, lock=True)
        check(bundle.revision)
        if store.is_bundle_used(session, bundle):
            raise Conflict("config-bundle-in-use", "A deployment uses this config bundle. Take it away there first.")
        store.remove_bundle(session, bundle)
        tell_change(session, who.envelope_facts(), "config_bundle.deleted", bundle, before=bundle_json(bundle), after=None)
