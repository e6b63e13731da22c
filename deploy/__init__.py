"""How Fairlead is built, delivered and run."""
