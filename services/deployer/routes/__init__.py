"""The deployer's HTTP routes, by subject."""

from flask_smorest import Blueprint

from services.deployer.routes import deployments, enroll, nodes

BLUEPRINTS: tuple[Blueprint, ...] = (nodes.blp, enroll.blp, deployments.blp)
