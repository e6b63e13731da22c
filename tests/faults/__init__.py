"""Faults: parts are really killed while a deployment is under way."""
