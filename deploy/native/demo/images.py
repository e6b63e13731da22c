"""The sample images of the demo, made out of BusyBox on the spot and pushed to the local registry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from deploy.native import images

WEB = "demo/web"
CLOCK = "demo/clock"

# Shows what it was given, so that anybody can see that environment, secret and volume arrived.
_START = """#!/bin/sh
echo started >> /data/starts
{
  echo "Fairlead shop $(cat /version)"
  echo "$GREETING; its key has ${#API_KEY} characters; started $(wc -l < /data/starts) times on this volume"
} > /www/index.html
exec httpd -f -p 80 -h /www
"""
_BROKEN = """#!/bin/sh
echo "cannot reach the payment provider" >&2
exec sleep 3600
"""
_TICK = """#!/bin/sh
trap 'exit 0' TERM
while :; do date; sleep 60 & wait $!; done
"""


def build_and_push(address: str, username: str, password: str) -> None:
    """Make the sample images for the registry at `address` (host:port). Raises StackError."""
    shop = {f"{number}": {"version": number, "bin/start": _START, "www/health": "fine\n"} for number in ("1.0.0", "1.1.0")}
    shop["1.2.0"] = {"version": "1.2.0", "bin/start": _BROKEN}
    client = images.connect()
    try:
        names = []
        for tag, files in shop.items():
            images.build(f"{address}/{WEB}", tag, files=files, cmd=("/bin/start",), healthcheck=None, client=client)
            names.append(f"{address}/{WEB}:{tag}")
        images.build(f"{address}/{CLOCK}", "1", files={"bin/tick": _TICK}, cmd=("/bin/tick",), healthcheck=None, client=client)
        names.append(f"{address}/{CLOCK}:1")
    finally:
        client.close()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: images.push(name, username, password), names))
