"""An agent's process that kills itself (SIGKILL) before or after a chosen call of its journal or of Docker."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.docker import Engine
from agent.main import Core
from agent.settings import Settings
from kernel.messaging.consumer import Delivery
from tests.fixtures.waiting import eventually

JOURNAL_CALLS = ("accept", "prepare", "commit", "begin_undo", "finish")
ENGINE_CALLS = (
    "create", "start", "stop", "remove", "rename", "set_restart_policy", "put_files", "create_network", "connect", "remove_network",
    "create_volume", "remove_volume",
)  # fmt: skip


class Fate:
    """Counts calls; dies at the one that was chosen: by number, or by name (`before:commit`, `after:commit`)."""

    def __init__(self, chosen: str) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self.count = 0

    def pass_by(self, moment: str) -> None:
        with self._lock:
            if self._chosen in (str(self.count), moment):
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1

    def watch(self, thing: object, names: tuple[str, ...]) -> None:
        for name in names:
            setattr(thing, name, self._watched(name, getattr(thing, name)))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:  # Any: whatever the call takes and gives
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.pass_by(f"before:{name}")
            result = call(*args, **kwargs)
            self.pass_by(f"after:{name}")
            return result

        return watched


def main(directory: str, chosen: str) -> None:
    """Take the commands on standard input, work until nothing is left, and print how many moments there were to die at."""
    fate = Fate(chosen)
    engine = Engine()
    fate.watch(engine, ENGINE_CALLS)
    core = Core(Settings(directory=Path(directory)), engine=engine)
    fate.watch(core.journal, JOURNAL_CALLS)
    for _ in range(2):
        threading.Thread(target=core.workers.run, daemon=True).start()
    for line in sys.stdin:
        body = base64.b64decode(line)
        delivery = Delivery(body=body, exchange="commands", key="", user_id=None, message_id=None, tag=1)
        core.commands.take(core.commands.read(delivery), body)
    eventually(lambda: not core.journal.unfinished() and core.workers.is_idle(), seconds=120, what="the end of all works")
    sys.stdout.write("\n" + json.dumps({"moments": fate.count}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
