"""Container images out of nothing but BusyBox: for demonstrations and tests on machines that reach no image registry."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, DockerException

from deploy.native.errors import StackError
from deploy.native.processes import find_program

SERVE = ("httpd", "-f", "-v", "-p", "80", "-h", "/www")
ASK_ITSELF = ("wget", "-q", "-O", "/dev/null", "http://127.0.0.1:80/")
_ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"


def connect() -> docker.DockerClient:
    """The engine that the environment names, or the one of this machine. Raises StackError."""
    try:
        return docker.from_env(timeout=60)
    except DockerException as error:
        raise StackError("docker", f"does not answer: {error}") from error


def _add(archive: tarfile.TarFile, name: str, content: bytes = b"", *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE,
         target: str = "") -> None:  # fmt: skip
    member = tarfile.TarInfo(name)  # time and owner stay 0: the same content makes the same layer
    member.size, member.mode, member.type, member.linkname = len(content), mode, kind, target
    archive.addfile(member, io.BytesIO(content))


def root_file_system() -> bytes:
    """A tar archive with a static BusyBox, a link for each of its programs, and the few files that programs expect."""
    program = Path(find_program("busybox", "/bin", "/usr/bin"))
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for directory in ("bin", "etc", "proc", "root", "sys", "dev", "www"):
                _add(archive, directory, mode=0o755, kind=tarfile.DIRTYPE)
            _add(archive, "tmp", mode=0o1777, kind=tarfile.DIRTYPE)
            _add(archive, "bin/busybox", program.read_bytes(), mode=0o755)
            for name in sorted(set(names) - {"busybox"}):
                _add(archive, f"bin/{name}", mode=0o777, kind=tarfile.SYMTYPE, target="busybox")
            _add(archive, "etc/passwd", _ACCOUNTS.encode())
            _add(archive, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        return buffer.getvalue()


def _context(files: Mapping[str, str], recipe: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "Dockerfile", recipe.encode())
        _add(archive, "root.tar", root_file_system())
        for path, content in sorted(files.items()):
            executable = content.startswith("#!")
            _add(archive, f"files/{path.lstrip('/')}", content.encode(), mode=0o755 if executable else 0o644)
    buffer.seek(0)
    return buffer


def _recipe(
    *,
    has_files: bool,
    cmd: Sequence[str],
    healthcheck: Sequence[str] | None,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
) -> str:
    lines = ["FROM scratch", "ADD root.tar /", 'ENV PATH="/bin"']
    if has_files:
        lines.append("COPY files/ /")
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in sorted(environment.items())]
    lines += [f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in sorted(labels.items())]
    if healthcheck is not None:
        lines.append(f"HEALTHCHECK --interval=1s --timeout=2s --retries=3 CMD {json.dumps(list(healthcheck))}")
    lines.append(f"CMD {json.dumps(list(cmd))}")
    return "\n".join(lines) + "\n"


def build(
    name: str,
    tag: str,
    *,
    files: Mapping[str, str],
    cmd: Sequence[str] = SERVE,
    healthcheck: Sequence[str] | None = ASK_ITSELF,
    labels: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    client: docker.DockerClient | None = None,
) -> str:
    """Builds `name:tag` and returns its id. `files` maps paths in the image to their text (`www/index.html`).

    By default the image serves `/www` on port 80 and asks itself every second whether it does; `healthcheck=None` leaves that out.
    """
    recipe = _recipe(has_files=bool(files), cmd=cmd, healthcheck=healthcheck, labels=labels or {}, environment=environment or {})
    engine = client or connect()
    try:
        image, _lines = engine.images.build(
            fileobj=_context(files, recipe), custom_context=True, tag=f"{name}:{tag}", rm=True, forcerm=True
        )
    except (BuildError, APIError) as error:
        raise StackError("docker", f"cannot build {name}:{tag}: {error}") from error
    finally:
        if client is None:
            engine.close()
    return str(image.id)


def push(reference: str, username: str, password: str, *, client: docker.DockerClient | None = None) -> str:
    """Pushes `host/name:tag` to its registry and returns the digest (`sha256:…`) by which it is known there."""
    engine = client or connect()
    repository, _colon, tag = reference.rpartition(":")
    try:
        lines = engine.images.push(repository, tag=tag, auth_config={"username": username, "password": password}, stream=True, decode=True)
        digest = ""
        for line in lines:
            if "error" in line:
                raise StackError("registry", f"does not take {reference}: {line['error']}")
            digest = line.get("aux", {}).get("Digest", digest)
    except APIError as error:
        raise StackError("registry", f"does not take {reference}: {error}") from error
    finally:
        if client is None:
            engine.close()
    if not digest:
        raise StackError("registry", f"took {reference} without telling its digest")
    return str(digest)
