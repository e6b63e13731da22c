"""How gunicorn runs Fairlead's HTTP processes: one small worker with threads by default; more by WEB_CONCURRENCY."""

# ruff: noqa: N999 - the name that gunicorn looks for

from __future__ import annotations

import ctypes
import gc
import os
import signal
from typing import Any

from gunicorn.http import wsgi  # type: ignore[import-untyped]  # gunicorn ships no types

_PR_SET_PDEATHSIG = 1

bind = [
    f"[{host}]:{os.environ.get('PORT', '8000')}" if ":" in host else f"{host}:{os.environ.get('PORT', '8000')}"
    for host in os.environ.get("HOST", "127.0.0.1").split(",")
]
# gunicorn looks these up when it is imported, which may have been before this process gave up root.
user = os.geteuid()
group = os.getegid()
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = int(os.environ.get("WEB_THREADS", "16"))
# Several workers share the memory of an application that is made once; nothing in it may connect or start a thread before
# the fork. A single one makes its own: the master, which only watches, then stays small.
preload_app = workers > 1
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - gunicorn makes a nameless file there
timeout = int(os.environ.get("WEB_TIMEOUT_SECONDS", "60"))
graceful_timeout = 5
keepalive = 15
max_requests = 0
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
accesslog = None  # the application writes a line for each request, with its correlation id
errorlog = "-"
loglevel = "warning"
control_socket_disable = True
# Only the gateway talks to strangers, and it decides itself whose X-Forwarded-For it believes.
forwarded_allow_ips = "127.0.0.1"

wsgi.SERVER = "fairlead"  # the Server header; gunicorn would tell its own name


def pre_fork(server: Any, worker: Any) -> None:
    """What was loaded before the fork is never collected, so its pages stay shared. Any: gunicorn has no types."""
    gc.collect()
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """A worker dies with its master, so that a killed master can be started again at once. Any: gunicorn has no types."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
