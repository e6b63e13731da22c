"""Values, states and decisions of the deployer: pure, no clock, no database."""
