"""Events that the catalog service sends, and what an image's labels say of the environment that it wants."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from marshmallow import fields

from kernel.contracts.config import ENVIRONMENT_NAME_PATTERN
from kernel.contracts.envelope import register
from kernel.contracts.recorded import Recorded, RecordedSchema

NAMES = (
    "catalog.registry.created",
    "catalog.registry.changed",
    "catalog.registry.deleted",
    "catalog.project.created",
    "catalog.project.changed",
    "catalog.project.converted",
    "catalog.project.deleted",
    "catalog.version.created",
    "catalog.version.changed",
    "catalog.version.deleted",
    "catalog.version.pinned",
    "catalog.version.released",
    "catalog.image.added",
    "catalog.image.changed",
    "catalog.image.removed",
    "catalog.image.reordered",
    "catalog.config_bundle.created",
    "catalog.config_bundle.changed",
    "catalog.config_bundle.deleted",
    "catalog.request.refused",
)

for _name in NAMES:
    register(_name, 1, RecordedSchema)


@dataclass(frozen=True, kw_only=True)
class VersionIncreased(Recorded):
    """A version has a child. With `auto_copy`, the deployer copies the parent's latest deployment of each place."""

    project_id: UUID
    parent_id: UUID
    version_id: UUID
    version_name: str
    version_seq: int
    auto_copy: bool = False
    image_ids: dict[str, str] | None = None


class VersionIncreasedSchema(RecordedSchema):
    kind = VersionIncreased

    project_id = fields.UUID(required=True)
    parent_id = fields.UUID(required=True)
    version_id = fields.UUID(required=True)
    version_name = fields.String(required=True)
    version_seq = fields.Integer(required=True, strict=True)
    auto_copy = fields.Boolean(load_default=False)
    # The parent's image id -> the child's image id, so that instance configurations follow their image.
    image_ids = fields.Dict(fields.String(), fields.String(), load_default=None, allow_none=True)


register("catalog.version.increased", 1, VersionIncreasedSchema)

# -- what an image itself wants, said by its labels ---------------------------------

ENVIRONMENT_LABEL = "dev.fairlead.env."
_RULE_TYPES: Mapping[str, re.Pattern[str]] = {
    "string": re.compile(r"[\s\S]*\Z"),
    "int": re.compile(r"[+-]?[0-9]{1,18}\Z"),
    "float": re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?\Z"),
    "boolean": re.compile(r"(?:true|false|1|0|yes|no|on|off)\Z", re.IGNORECASE),
}
_LABEL_NAME = re.compile(rf"{ENVIRONMENT_NAME_PATTERN}\Z")


@dataclass(frozen=True)
class EnvironmentRule:
    """One variable that an image declares: `dev.fairlead.env.NAME=<type>[,required][,secret][,default=…]`."""

    name: str
    type: str = "string"
    required: bool = False
    secret: bool = False
    default: str | None = None

    def fits(self, value: str) -> bool:
        """Does `value` read as the rule's type?"""
        return bool(_RULE_TYPES[self.type].match(value))


def environment_rules(labels: Mapping[str, str]) -> tuple[list[EnvironmentRule], list[str]]:
    """The rules that labels declare, by name, and a warning for each label that cannot be read."""
    rules: list[EnvironmentRule] = []
    warnings: list[str] = []
    for label, text in sorted(labels.items()):
        if not label.startswith(ENVIRONMENT_LABEL):
            continue
        rule = _environment_rule(label.removeprefix(ENVIRONMENT_LABEL), text)
        if isinstance(rule, str):
            warnings.append(f"The label {label} is not understood: {rule}.")
        else:
            rules.append(rule)
    return rules, warnings


def _environment_rule(name: str, text: str) -> EnvironmentRule | str:
    if not _LABEL_NAME.match(name):
        return "its last part is not the name of a variable"
    # A default comes last and may hold commas itself.
    words, has_default, default = text.partition(",default=")
    kind, *flags = [word.strip().lower() for word in words.split(",")]
    if kind not in _RULE_TYPES:
        return f"its type must be one of {', '.join(_RULE_TYPES)}"
    unknown = set(flags) - {"required", "secret"}
    if unknown:
        return f"it says {', '.join(sorted(unknown))}, but only required, secret and default= mean something"
    rule = EnvironmentRule(name, kind, "required" in flags, "secret" in flags, default if has_default else None)
    if rule.secret and rule.default is not None:
        return "a secret has no default"
    if rule.default is not None and not rule.fits(rule.default):
        return f"its default is no {kind}"
    return rule


def unmet_rules(rules: Iterable[EnvironmentRule], environment: Mapping[str, str | None], secrets: Collection[str]) -> dict[str, str]:
    """Variable to what is wrong with it, given a container's whole environment and the names of the secrets that are set."""
    wrong: dict[str, str] = {}
    for rule in rules:
        value = environment.get(rule.name)
        if value is None:
            if rule.required and rule.name not in secrets:
                wrong[rule.name] = f"is required by the image, as a {'secret' if rule.secret else rule.type}"
        elif not rule.fits(value):
            wrong[rule.name] = f"must be a {rule.type}, says the image"
    return wrong
