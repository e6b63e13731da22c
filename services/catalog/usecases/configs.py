"""Changing a configuration by a JSON merge patch."""

from __future__ import annotations

from kernel.contracts.config import Config, parse_config
from kernel.http.patch import merge_patch


def patched(config: Config, patch: object) -> Config:
    """`config` changed by a merge patch (RFC 7396) and checked as a whole. Raises Invalid naming fields below `config`."""
    return parse_config({} if patch is None else merge_patch(config, patch))
