"""Compose files before our importer and before docker-compose itself: what the one refuses the other refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import Invalid
from services.catalog.compose import ImportOptions, import_compose

# docker-compose 1.29 looks for the word `version` before it reads a file by the specification.
_HEAD = "version: '3.9'\n"

GOOD = {
    "the least": "services: {a: {image: x}}",
    "short forms": """
services:
  a:
    image: x:1
    command: echo "two words"
    ports: ["80", "8080:80", "127.0.0.1:8443:443", "9000-9002:9000-9002", "53:53/udp", 7000]
    volumes: ["/anonymous", "data:/data", "/etc/localtime:/etc/localtime:ro"]
    environment: [A=b, C=]
    labels: [traefik.enable=true]
    networks: [front]
    depends_on: [b]
    dns: 1.1.1.1
    tmpfs: /run
    expose: ["3000"]
    extra_hosts: ["db:10.0.0.1"]
  b: {image: y}
volumes: {data: }
networks: {front: }
""",
    "long forms": """
services:
  a:
    image: x
    entrypoint: [sh, -c]
    command: []
    ports: [{target: 80, published: 8080, protocol: tcp, mode: host}]
    volumes:
      - {type: volume, source: data, target: /data, read_only: true, volume: {nocopy: true}}
      - {type: bind, source: /etc/localtime, target: /etc/localtime}
      - {type: tmpfs, target: /tmp, tmpfs: {size: 1048576}}
    environment: {A: b, N: 7, E: }
    labels: {a: b}
    networks: {front: {aliases: [www]}, back: }
    depends_on: {b: {condition: service_healthy}}
    sysctls: {net.core.somaxconn: 1024}
    ulimits: {nproc: 65535, nofile: {soft: 100, hard: 200}}
    logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}
    build: {context: ., args: {A: b}, target: prod}
  b:
    image: y
    healthcheck: {test: [CMD, "true"], interval: 1m30s, timeout: 500ms, retries: 3, start_period: 1h}
volumes: {data: {driver: local, labels: {a: b}}}
networks:
  front: {driver: bridge, ipam: {config: [{subnet: 10.9.0.0/24}]}}
  back: {external: true, name: theirs}
""",
    "deploy": """
services:
  a:
    image: x
    deploy:
      mode: replicated
      replicas: 2
      labels: {a: b}
      resources: {limits: {cpus: "0.5", memory: 50M}, reservations: {memory: 20M}}
      restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}
      update_config: {parallelism: 2}
      placement: {constraints: [node.role == manager]}
""",
    "configs and secrets": """
services:
  a:
    image: x
    secrets: [pw, {source: key, target: /run/key, mode: 256}]
    configs: [conf, {source: conf, target: /etc/conf}]
secrets: {pw: {file: ./pw.txt}, key: {external: true}}
configs: {conf: {file: ./conf}}
""",
    "limits of old": "services: {a: {image: x, mem_limit: 512m, cpus: 0.5, pids_limit: 10, shm_size: 64m, init: true, privileged: false}}",
    "extensions": "x-a: &a {restart: always}\nservices: {a: {<<: *a, image: x, x-own: 1}}",
    "interpolation": 'services: {a: {image: "x:${TAG:-1}", privileged: "${P:-true}", ports: ["${PORT:-80}:80"], labels: {a: "$$b"}}}',
    "profiles": "services: {a: {image: x, profiles: [debug]}, b: {image: y}}",
    "restart": 'services: {a: {image: x, restart: "no"}, b: {image: y, restart: "on-failure:3"}}',
    "the same file's extends": "services: {a: {image: x, extends: {service: b}, command: [a]}, b: {image: y, command: [b, c]}}",
}

# Beside these we refuse what it notices only at `up`: durations, sizes, networks, configs and secrets that are none.
BAD = {
    "a list of services": "services: [a]",
    "a service that is a text": "services: {a: x}",
    "a service name with a space": 'services: {"a b": {image: x}}',
    "an unknown key at the top": "services: {a: {image: x}}\ncolour: red",
    "an unknown key of a service": "services: {a: {image: x, colour: red}}",
    "an unknown key of a port": "services: {a: {image: x, ports: [{target: 80, colour: red}]}}",
    "an unknown key of a health check": "services: {a: {image: x, healthcheck: {test: x, colour: red}}}",
    "an unknown key of a build": "services: {a: {image: x, build: {context: ., colour: red}}}",
    "an unknown key of a limit": "services: {a: {image: x, deploy: {resources: {limits: {colour: red}}}}}",
    "an unknown key of a volume": "services: {a: {image: x}}\nvolumes: {v: {colour: red}}",
    "an unknown key of a network": "services: {a: {image: x}}\nnetworks: {n: {colour: red}}",
    "an image that is a number": "services: {a: {image: 7}}",
    "ports that are a mapping": "services: {a: {image: x, ports: {a: b}}}",
    "a port that is none": "services: {a: {image: x, ports: [web]}}",
    "ranges of other lengths": 'services: {a: {image: x, ports: ["1-3:1-2"]}}',
    "volumes that are a text": "services: {a: {image: x, volumes: data}}",
    "a mount of too many parts": 'services: {a: {image: x, volumes: ["/a:/b:ro:d"]}}',
    "a mount without a type": "services: {a: {image: x, volumes: [{target: /x}]}}",
    "environment that is a text": "services: {a: {image: x, environment: A}}",
    "environment of lists": "services: {a: {image: x, environment: {A: [b]}}}",
    "labels of mappings": "services: {a: {image: x, labels: {a: {b: c}}}}",
    "a command that is a mapping": "services: {a: {image: x, command: {a: b}}}",
    "a privilege that is maybe": 'services: {a: {image: x, privileged: "${P:-maybe}"}}',
    "privileges in a list": "services: {a: {image: x, privileged: [true]}}",
    "networks that are a number": "services: {a: {image: x, networks: 7}}",
    "a volume that is not there": 'services: {a: {image: x, volumes: ["v:/v"]}}',
    "a service that is not there": "services: {a: {image: x, depends_on: [b]}}",
    "a circle": "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
    "a condition that is none": "services: {a: {image: x, depends_on: {b: {condition: maybe}}}, b: {image: x}}",
    "a condition that is missing": "services: {a: {image: x, depends_on: {b: {}}}, b: {image: x}}",
    "a restart that is a list": "services: {a: {image: x, restart: [always]}}",
    "a limit without its hard end": "services: {a: {image: x, ulimits: {nofile: {soft: 1}}}}",
    "a logging that is a text": "services: {a: {image: x, logging: json-file}}",
    "profiles that are a text": "services: {a: {image: x, profiles: debug}}",
    "a variable that must be given": 'services: {a: {image: "x:${TAG_THAT_IS_NOT:?give it}"}}',
    "a variable without its end": 'services: {a: {image: "x:${TAG"}}',
    "an extends of nobody": "services: {a: {image: x, extends: {service: b}}}",
    "an extends without a service": "services: {a: {image: x, extends: {}}}",
    "an extends in a circle": "services: {a: {image: x, extends: {service: b}}, b: {image: x, extends: {service: a}}}",
    "no YAML": "services: {a: {image: x",
}


EXTENDING = """
services:
  b:
    image: y
    command: [b, c]
    environment: [A=1, B=2]
    env_file: b.env
    ports: ["80:80", "81:81"]
    volumes: ["v:/v", "/a:/a"]
    networks: [n]
    healthcheck: {test: [CMD, x], interval: 5s}
    logging: {driver: json-file, options: {a: b, c: d}}
    labels: {a: b}
    cap_add: [NET_ADMIN]
    tmpfs: /t
    deploy: {resources: {limits: {cpus: "1", memory: 1g}}}
    secrets: [s, t]
    stop_signal: SIGINT
    restart: always
  a:
    extends: {service: b}
    image: x
    command: [a]
    environment: {B: 3, C: 4}
    env_file: [a.env]
    ports: ["80:80", "82:82"]
    volumes: ["w:/w:ro"]
    networks: {m: {aliases: [z]}}
    healthcheck: {test: [CMD, y]}
    logging: {options: {c: e}}
    labels: [c=d]
    cap_add: [SYS_TIME, NET_ADMIN]
    tmpfs: [/u]
    deploy: {resources: {limits: {cpus: "2"}}}
    secrets: [{source: s, target: q}]
    restart: "no"
volumes: {v: , w: }
networks: {n: , m: }
secrets: {s: {external: true}, t: {external: true}}
"""


def _accepts(text: str) -> bool:
    try:
        import_compose(text, ImportOptions())
    except Invalid:
        return False
    return True


def _docker_compose_accepts(text: str, directory: Path) -> bool:
    (directory / "docker-compose.yml").write_text(_HEAD + text)
    command = ["docker-compose", "config", "--quiet"]
    return subprocess.run(command, cwd=directory, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_docker_compose_accepts_is_accepted(name: str, tmp_path: Path) -> None:
    assert (_docker_compose_accepts(GOOD[name], tmp_path), _accepts(GOOD[name])) == (True, True)


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_docker_compose_refuses_is_refused(name: str, tmp_path: Path) -> None:
    assert (_docker_compose_accepts(BAD[name], tmp_path), _accepts(BAD[name])) == (False, False)


def test_what_extends_is_merged_as_docker_compose_merges_it(tmp_path: Path) -> None:
    files = {"a.env": "F=1", "b.env": "F=2\nG=2"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "docker-compose.yml").write_text(_HEAD + EXTENDING)
    judged = subprocess.run(["docker-compose", "config"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    ours, theirs = (_merged(text, files) for text in (EXTENDING, judged.stdout))
    assert ours == theirs


def _merged(text: str, files: dict[str, str]) -> dict[str, Any]:
    """The configuration of `a`, lists in an order of their own. Any: a configuration."""
    found = import_compose(text, ImportOptions(files))
    config = next(one.config for one in found.services if one.name == "a")
    return {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in config.items()} | {
        "capabilities": sorted(config["capabilities"]["add"])
    }
