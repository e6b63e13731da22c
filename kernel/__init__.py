"""Shared code without a business rule."""
