"""The deployer's HTTP routes, by subject."""

from flask_smorest import Blueprint

BLUEPRINTS: tuple[Blueprint, ...] = ()
