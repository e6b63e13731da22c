"""How the catalog speaks to registries that users name: one guarded client, and what each kind of registry answers."""
