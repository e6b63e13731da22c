"""The catalog service: registries, projects, versions and images."""
