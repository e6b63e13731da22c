"""What the deployer can do, one verb a function, by subject."""
