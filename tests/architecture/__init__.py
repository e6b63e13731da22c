"""How the code is laid out, checked; and each check is checked on a tree that breaks it."""
