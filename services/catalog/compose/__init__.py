"""Compose files in and out: pure functions from text to images with configuration, and back."""

from services.catalog.compose.export import ExportedImage, export_compose
from services.catalog.compose.project import Imported, ImportOptions, Note, Service, import_compose

__all__ = ["ExportedImage", "ImportOptions", "Imported", "Note", "Service", "export_compose", "import_compose"]
