"""What can be done with the catalog: one verb a function, each a transaction of its own."""
