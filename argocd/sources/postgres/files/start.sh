#!/bin/sh
# Makes the data folder, once, and becomes the server; arguments are the server's. Killed at any instant and started again, it ends in the same state.
set -eu
initialised=$PGDATA/parity.initialised
if [ ! -e "$initialised" ]; then
  rm -rf "$PGDATA"
  initdb --pgdata="$PGDATA" --username="$(cat /secrets/user)" --pwfile=/secrets/password --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >/dev/null
  # hostssl: whoever comes without TLS is refused.
  if [ -e /tls/tls.key ]; then host=hostssl; else host=host; fi
  printf 'local all all scram-sha-256\n%s all all all scram-sha-256\n' "$host" >"$PGDATA/pg_hba.conf"
  printf 'CREATE DATABASE "%s" TEMPLATE template0\n' "$(cat /secrets/database)" | postgres --single -D "$PGDATA" postgres >/dev/null
  touch "$initialised"
fi
# What is lost when the node is lost is loaded again, so nothing waits for the disk; a commit outlives a crash of the server.
# With wal_level=minimal a table that is made and filled in one transaction writes no log.
set -- -c fsync=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=4GB -c checkpoint_timeout=30min \
  -c shared_buffers=128MB -c maintenance_work_mem=128MB -c autovacuum=off -c max_connections=100 -c timezone=UTC -c log_timezone=UTC \
  -c log_statement=none -c log_min_error_statement=panic "$@"
if [ -e /tls/tls.key ]; then set -- -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key "$@"; fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/run/parity "$@"
