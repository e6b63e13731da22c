"""The identity service: people, teams, tokens and sign-in."""
