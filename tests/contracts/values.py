"""Realistic values for samples, by the name of the field and of the message. Fixed, so that a sample is made alike each time."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from tests.contracts.catalogue import Kind

TIME = "2026-11-22T10:15:30.250000Z"
_MILLISECONDS = 1_795_342_530_250  # TIME


def fixed_id(name: str) -> UUID:
    """A UUIDv7 of the moment TIME whose rest is made from `name`."""
    rest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10], "big")
    value = _MILLISECONDS << 80 | rest
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


TEAM, USER, NODE = fixed_id("team"), fixed_id("user"), fixed_id("node")
DEPLOYMENT, ATTEMPT, VERSION = fixed_id("deployment_id"), fixed_id("attempt_id"), fixed_id("version_id")
DIGEST = "sha256:" + hashlib.sha256(b"image").hexdigest()
IMAGE = f"registry.example.com/shop/web@{DIGEST}"
CONTAINER = hashlib.sha256(b"container").hexdigest()
BOX = "c2VhbGVkLWJveC1mb3ItdGhlLW5vZGUtb25seS1zYW1wbGU="

ENVELOPE: dict[str, object] = {
    "team": str(TEAM),
    "node": str(NODE),
    "actorname": "Ada Lovelace",
    "address": "203.0.113.7",
    "correlation": "5f0c8f1d2a9b4e63",
    "causation": str(fixed_id("cause")),
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "epoch": 3,
    "generation": 12,
    "sequence": 4711,
    "ttl_seconds": 900,
}

# The resource as the API shows it, by the thing in the message's name; before a change, and after it.
_NAMES: dict[str, str] = {
    "user": "ada@example.com", "password": "ada@example.com", "email": "ada@example.com", "second_factor": "ada@example.com",
    "session": "ada@example.com", "access": "POST /api/v1/auth/login", "token": "CI of the shop", "team": "Harbour",
    "member": "grace@example.com", "invitation": "grace@example.com", "signing_key": "2026-11", "registry": "registry.example.com",
    "project": "shop", "version": "1.1.0", "image": "web", "config_bundle": "defaults", "node": "harbour-1", "secrets": "shop",
    "deployment": "shop 1.1.0 on harbour-1", "place": "shop", "request": "POST /api/v1/teams/…/deployments/…/start",
}  # fmt: skip
_RESOURCES: dict[str, dict[str, object]] = {
    "registry": {"name": "registry.example.com", "type": "v2", "url": "https://registry.example.com", "password_set": True},
    "project": {"name": "shop", "description": "The web shop", "type": "versioned"},
    "version": {"name": "1.1.0", "type": "incremental", "changelog": "Faster search"},
    "image": {"repository": "shop/web", "tag": "1.1.0", "config": {"name": "web", "ports": [{"container_port": 80, "host_port": 8081}]}},
    "config_bundle": {"name": "defaults", "config": {"environment": {"TZ": "UTC"}}},
    "node": {"name": "harbour-1", "description": "under the desk"},
    "place": {"prefix": "shop", "generation": 12, "remove_volumes": True, "asked_by": f"user:{USER}"},
    "deployment": {"prefix": "shop", "version_name": "1.1.0", "status": "preparing", "note": "", "protected": False},
    "team": {"name": "Harbour", "slug": "harbour"},
    "member": {"role": "member"},
    "secrets": {"names": ["DATABASE_PASSWORD"]},
}

_KNOWN: dict[str, object] = {
    "resource_name": "shop",
    "reason": "asked for by the owner",
    "node_id": str(NODE),
    "verify_key": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    "seal_key": "j0DFrbaPJWJK5bIU6nZ6bslNgp09e17a0bpvPiE4KF8=",
    "deployment_id": str(DEPLOYMENT),
    "attempt_id": str(ATTEMPT),
    "version_id": str(VERSION),
    "boot_id": str(fixed_id("boot")),
    "command_id": str(fixed_id("command")),
    "working_on": [str(ATTEMPT)],
    "command_type": "deployer.deployment.apply.v1",
    "version_name": "1.1.0",
    "version_seq": 2,
    "auto_copy": True,
    "image_ids": {str(fixed_id("parent image")): str(fixed_id("child image"))},
    "prefix": "shop",
    "revision": 5,
    "attempt": 2,
    "generation": 12,
    "timeout_seconds": 900,
    "force_recreate": True,
    "remove_volumes": True,
    "credentials": {"registry.example.com": BOX},
    "project": "shop",
    "name": "web",
    "image": IMAGE,
    "tag": "1.1.0",
    "digest": DIGEST,
    "registry": "registry.example.com",
    "config": {"environment": {"TZ": "UTC"}, "restart_policy": "unless-stopped"},
    "sealed": BOX,
    "as": "file",
    "facts": {"hostname": "harbour-1", "os": "Debian GNU/Linux 12 (bookworm)", "cpus": 2, "memory_bytes": 4_109_197_312,
              "engine_version": "20.10.24", "api_version": "1.41"},
    "wall_clock": "2026-11-22T10:15:30.250000+00:00",
    "engine": "ok",
    "container_id": CONTAINER,
    "state": "running",
    "spec": hashlib.sha256(b"spec").hexdigest(),
    "health": "healthy",
    "exit_code": 0,
    "restart_count": 0,
    "started_at": "2026-11-22T10:15:30.250000+00:00",
    "ports": [{"container_port": 80, "protocol": "tcp", "host_ip": "0.0.0.0", "host_port": 8081}],
    "detail": "The container web did not become healthy in 120 s.",
    "step": "pulling",
    "container": "web",
    "message": "shop/web:1.1.0",
    "progress": 0.5,
    "restored": True,
    "action": "replaced",
    "health_checked": True,
    "seconds": {"pull": 4.2, "create": 0.6, "health": 2.1},
    "code": "unhealthy",
}  # fmt: skip

_BY_MESSAGE: dict[tuple[str, str], object] = {
    ("agent.hello", "version"): "0.1.0",
    ("agent.hello", "outcome"): "failed",
    ("agent.deployment.finished", "outcome"): "failed",
    ("agent.place.removed", "outcome"): "failed",
    ("agent.place.removed", "code"): "volume-in-use",
    ("agent.place.removed", "detail"): "The volume shop-data is in use and stays.",
    ("agent.place.removed", "containers"): ["shop-web"],
    ("agent.place.removed", "volumes"): ["shop-cache"],
    ("agent.command.refused", "code"): "superseded",
    ("agent.command.refused", "detail"): "Generation 11 is older than 12, the last one at shop.",
    ("deployer.deployment.apply", "version"): "1.1.0",
    ("deployer.deployment.cancel", "reason"): "timed-out",
}
_STATUS = {
    "created": "preparing", "changed": "preparing", "deleted": "deleted", "started": "in-progress", "cancel_requested": "in-progress",
    "succeeded": "successful", "failed": "failed", "corrected": "successful", "obsoleted": "obsolete", "downgraded": "downgraded",
}  # fmt: skip
_OUTCOME = {"failed": "failed", "cancel_requested": "cancelled"}


def known(name: str, thing: str) -> Any:
    """The sample of the field `name` in the message `thing`, or None where there is none. Any: JSON."""
    if (thing, name) in _BY_MESSAGE:
        return _BY_MESSAGE[thing, name]
    _sender, resource, verb = (*thing.split("."), "")[:3]
    if name == "resource_type":
        return resource
    if name == "resource_id":
        return str(fixed_id(resource))
    if name == "resource_name":
        return _NAMES.get(resource, resource)
    if name in ("before", "after"):
        return _resource(resource, name)
    if name == "outcome":
        return "refused" if verb == "refused" else "allowed"
    if name == "reason" and verb == "refused":
        return "forbidden"
    if name == "status":
        return _STATUS.get(verb, "successful")
    if name == "attempt_outcome":
        return _OUTCOME.get(verb, "succeeded")
    return _KNOWN.get(name)


def _resource(resource: str, when: str) -> dict[str, object]:
    shown = _RESOURCES.get(resource, {"name": _NAMES.get(resource, resource)})
    return shown | {"revision": 4 if when == "before" else 5}


def subject(full: str, kind: Kind) -> str:
    """What the message is about."""
    if kind is Kind.EVENT:
        return str(fixed_id(full.split(".")[1]))
    if kind is Kind.REPORT:
        return "shop" if ".deployment." in full or ".place." in full else str(NODE)
    return str(DEPLOYMENT)
