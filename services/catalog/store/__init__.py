"""Queries of the catalog: rows in, values out. Nothing here commits."""
