"""Calls to the Docker Engine: each has a timeout, and errors of our own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import docker
import docker.errors
from docker.types import CancellableStream

from agent.docker.errors import EngineAway, EngineRefused, InUse, NotThere, of_pull, translated
from agent.docker.values import Inspected, PullLine, inspected, seen
from agent.plan import Seen
from kernel.errors import Conflict

_CALL_SECONDS = 60

# The body of a request, as the engine's API documents it. Any: JSON has no closer type.
Body = Mapping[str, Any]


class Engine:
    """One Docker Engine, usable from any thread. The API version is negotiated at the first call that succeeds."""

    def __init__(self, address: str = "unix:///var/run/docker.sock") -> None:
        self._address = address
        self._lock = threading.Lock()
        self._client: docker.APIClient | None = None

    def _api(self) -> docker.APIClient:
        with self._lock:
            if self._client is None:
                self._client = docker.APIClient(base_url=self._address, version="auto", timeout=_CALL_SECONDS)
            return self._client

    def close(self) -> None:
        """Close its connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- containers -----------------------------------------------------------------------------

    def containers(self, label: str | None = None) -> list[Seen]:
        """Every container, running or not, or those with `label` (`name=value`)."""
        with translated("listing containers"):
            return [seen(raw) for raw in self._api().containers(all=True, filters={"label": label} if label else None)]

    def inspect(self, container_id: str) -> Inspected:
        """Raises NotThere."""
        with translated(f"inspecting the container {container_id[:12]}"):
            return inspected(self._api().inspect_container(container_id))

    def create(self, name: str, body: Body) -> str:
        """Make a container; returns its id. Raises InUse when the name is taken, Conflict `image-missing`."""
        with translated(f"creating the container {name}"):
            made: dict[str, Any] = self._api().create_container_from_config(dict(body), name)  # type: ignore[no-untyped-call]  # the stubs leave it out
            return str(made["Id"])

    def start(self, container_id: str) -> None:
        """Start it; nothing happens if it runs already."""
        with translated(f"starting the container {container_id[:12]}"):
            self._api().start(container_id)

    def stop(self, container_id: str, grace_seconds: int) -> None:
        """Stop it, and kill it after the grace; nothing happens if it is gone or does not run."""
        try:
            with translated(f"stopping the container {container_id[:12]}"):
                self._api().stop(container_id, timeout=grace_seconds)
        except NotThere:
            return

    def remove(self, container_id: str) -> None:
        """Kill and remove it with its anonymous volumes; nothing happens if it is gone or is being removed."""
        try:
            with translated(f"removing the container {container_id[:12]}"):
                self._api().remove_container(container_id, v=True, force=True)
        except NotThere:
            return
        except InUse as error:
            if "already in progress" not in error.detail:
                raise

    def rename(self, container_id: str, name: str) -> None:
        """Raises InUse when another holds the name, NotThere."""
        with translated(f"renaming the container {container_id[:12]} to {name}"):
            self._api().rename(container_id, name)

    def set_restart_policy(self, container_id: str, policy: str) -> None:
        with translated(f"setting the restart policy of {container_id[:12]}"):
            self._api().update_container(container_id, restart_policy={"Name": policy})  # type: ignore[arg-type]  # one of Docker's words

    def put_files(self, container_id: str, archive: bytes) -> None:
        """Unpack a tar archive at the container's root."""
        with translated(f"writing files into {container_id[:12]}"):
            self._api().put_archive(container_id, "/", archive)

    def last_lines(self, container_id: str, count: int) -> str:
        """The end of a container's log; empty when its driver keeps none to read."""
        try:
            with translated(f"reading the log of {container_id[:12]}"):
                said = self._api().logs(container_id, stdout=True, stderr=True, tail=count)
        except (EngineRefused, NotThere):
            return ""
        return bytes(said).decode(errors="replace")

    # -- images ---------------------------------------------------------------------------------

    def image_id(self, image: str) -> str | None:
        """What `image` (name:tag or name@digest) is on this engine, or None."""
        try:
            with translated(f"looking for the image {image}"):
                found: dict[str, Any] = self._api().inspect_image(image)  # type: ignore[no-untyped-call]  # the stubs leave it out
                return str(found["Id"])
        except Conflict as error:
            if error.code == "image-missing":
                return None
            raise

    def pull(self, image: str, credentials: Mapping[str, str] | None = None) -> Iterator[PullLine]:
        """Pull it, line by line. Raises Conflict `image-missing`, `registry-denied`, `disk-full`; Unavailable for the rest."""
        with translated(f"pulling {image}"):
            try:
                lines = self._api().pull(image, stream=True, decode=True, auth_config=dict(credentials) if credentials else None)
                for line in lines:
                    if "error" in line:
                        raise of_pull(image, str(line["error"]))
                    detail = line.get("progressDetail") or {}
                    yield PullLine(line.get("id", ""), line.get("status", ""), detail.get("current") or 0, detail.get("total") or 0)
            except docker.errors.APIError as error:
                raise of_pull(image, str(error.explanation or error)) from error

    # -- networks and volumes ---------------------------------------------------------------------

    def network_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a network, or None when there is none of that name."""
        try:
            with translated(f"looking for the network {name}"):
                found: dict[str, Any] = self._api().inspect_network(name)
                return dict(found.get("Labels") or {})
        except NotThere:
            return None

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a bridge network; nothing happens if the name is there."""
        try:
            with translated(f"creating the network {name}"):
                self._api().create_network(name, driver="bridge", check_duplicate=True, labels=dict(labels))
        except InUse:
            return

    def connect(self, container_id: str, network: str, aliases: list[str]) -> None:
        with translated(f"connecting {container_id[:12]} to the network {network}"):
            self._api().connect_container_to_network(container_id, network, aliases=aliases)

    def remove_network(self, name: str) -> bool:
        """False when somebody still uses it."""
        try:
            with translated(f"removing the network {name}"):
                self._api().remove_network(name)
        except NotThere:
            return True
        except (InUse, EngineRefused):
            return False
        return True

    def volume_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a volume, or None when there is none of that name."""
        try:
            with translated(f"looking for the volume {name}"):
                found: dict[str, Any] = self._api().inspect_volume(name)
                return dict(found.get("Labels") or {})
        except NotThere:
            return None

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a local volume; nothing happens if it is there."""
        with translated(f"creating the volume {name}"):
            self._api().create_volume(name, labels=dict(labels))

    def volumes(self, label: str) -> list[str]:
        """The names of the volumes with `label` (`name=value`)."""
        with translated("listing volumes"):
            answer: dict[str, Any] = self._api().volumes(filters={"label": label})
            return [str(one["Name"]) for one in answer.get("Volumes") or []]

    def networks(self, label: str) -> list[str]:
        """The names of the networks with `label` (`name=value`)."""
        with translated("listing networks"):
            return [str(one["Name"]) for one in self._api().networks(filters={"label": label})]

    def remove_volume(self, name: str) -> bool:
        """False when somebody still uses it."""
        try:
            with translated(f"removing the volume {name}"):
                self._api().remove_volume(name)
        except NotThere:
            return True
        except (InUse, EngineRefused):
            return False
        return True

    # -- the engine itself --------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What a person wants to know of it. Any: text and numbers."""
        with translated("asking the engine about itself"):
            info = self._api().info()
        return {
            "engine_version": info.get("ServerVersion", ""),
            "api_version": self._api().api_version,
            "storage_driver": info.get("Driver", ""),
            "cpus": info.get("NCPU", 0),
            "memory_bytes": info.get("MemTotal", 0),
            "os": info.get("OperatingSystem", ""),
            "kernel": info.get("KernelVersion", ""),
            "architecture": info.get("Architecture", ""),
        }

    def is_there(self) -> bool:
        """Whether it answers."""
        try:
            with translated("asking whether the engine is there"):
                return bool(self._api().ping())
        except (EngineAway, EngineRefused):
            return False

    def events(self, label: str, kinds: list[str]) -> CancellableStream[Any]:
        """The events of containers with `label`, as they come; `close` ends the waiting."""
        with translated("following the engine's events"):
            stream: CancellableStream[Any] = self._api().events(decode=True, filters={"type": "container", "label": label, "event": kinds})
            return stream
