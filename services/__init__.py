"""The four services: identity, catalog, deployer, audit."""
