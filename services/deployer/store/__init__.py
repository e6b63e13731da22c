"""Queries of the deployer, by table: rows to values and back; never a commit."""
