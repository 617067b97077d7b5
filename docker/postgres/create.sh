#!/bin/sh
# What the official image of PostgreSQL runs once, in an empty cluster: our three logins and the database.
set -eu
secret() { cat "${SECRETS:-/run/secrets}/$1"; }
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --quiet \
  --set owner="$(secret owner_password)" --set app="$(secret app_password)" --set operator="$(secret operator_password)" \
  --file "${ROLES:-/etc/voicereel/roles.sql}"
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --quiet \
  --command "CREATE DATABASE voicereel OWNER voicereel_migrator"
