#!/bin/sh
# Ready is who answers a query.
PGPASSWORD=$(cat /secrets/password) exec psql --host=/run/parity --username="$(cat /secrets/user)" --dbname="$(cat /secrets/database)" \
  --no-psqlrc --quiet --tuples-only --no-align --command='SELECT 1'
