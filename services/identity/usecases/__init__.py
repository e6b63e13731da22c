"""What people, teams and the gateway ask of identity: one verb a function."""
