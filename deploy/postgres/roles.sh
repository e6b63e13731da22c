#!/usr/bin/env bash
# Makes one database and two roles a service on an empty cluster: in a container, a file of /docker-entrypoint-initdb.d.
# Reads POSTGRES_USER and, for each service, FAIRLEAD_<SERVICE>_DATABASE_PASSWORD and FAIRLEAD_<SERVICE>_OWNER_PASSWORD.
# The native stack does the same in deploy/native/postgres.py, where a test compares the two.
set -euo pipefail

sql() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" "$@"; }

need() {
  if [ -z "${!1:-}" ]; then
    echo "$1 is missing: every service needs passwords of its own" >&2
    exit 1
  fi
}

services="identity catalog deployer audit"
for service in $services; do
  need "FAIRLEAD_${service^^}_DATABASE_PASSWORD"
  need "FAIRLEAD_${service^^}_OWNER_PASSWORD"
done

rights="LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
sql --dbname postgres <<<"REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;"
for service in $services; do
  password="FAIRLEAD_${service^^}_DATABASE_PASSWORD"
  owner_password="FAIRLEAD_${service^^}_OWNER_PASSWORD"
  # Passwords go in by psql's variables, which quote them; not by the command line, which others can read.
  sql --dbname postgres <<SQL
\getenv password $password
\getenv owner_password $owner_password
CREATE ROLE ${service}_owner $rights PASSWORD :'owner_password';
CREATE ROLE ${service} $rights PASSWORD :'password';
CREATE DATABASE ${service} OWNER ${service}_owner;
REVOKE ALL ON DATABASE ${service} FROM PUBLIC;
GRANT CONNECT ON DATABASE ${service} TO ${service}, ${service}_owner;
SQL
  sql --dbname "$service" <<SQL
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO ${service}_owner;
GRANT USAGE ON SCHEMA public TO ${service};
SQL
done
