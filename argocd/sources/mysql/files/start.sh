#!/bin/sh
# Makes the data folder, once, and becomes the server; arguments are the server's. Killed at any instant and started again, it ends in the same state.
set -eu
data=/data/mysql
initialised=$data/parity.initialised
if command -v mariadbd >/dev/null; then server=mariadbd; else server=mysqld; fi
if [ ! -e "$initialised" ]; then
  rm -rf "$data"
  mkdir -m 700 "$data"
  case $server in
    mariadbd) mariadb-install-db --no-defaults --datadir="$data" --tmpdir=/tmp --auth-root-authentication-method=socket --skip-test-db --skip-name-resolve ;;
    mysqld) mysqld --no-defaults --datadir="$data" --tmpdir=/tmp --initialize-insecure ;;
  esac >/dev/null
  touch "$initialised"
fi

# In memory, for this user only. The server reads a statement from each line.
umask 077
quoted() { sed "s/[\\\\']/\\\\&/g" "$1"; }
account="'$(quoted /secrets/user)'@'%'"
cat >/run/parity/init.sql <<SQL
CREATE DATABASE IF NOT EXISTS \`$(cat /secrets/database)\`;
CREATE USER IF NOT EXISTS $account IDENTIFIED BY '$(quoted /secrets/password)';
ALTER USER $account IDENTIFIED BY '$(quoted /secrets/password)';
GRANT ALL PRIVILEGES ON *.* TO $account WITH GRANT OPTION;
SQL

case $server in
  mariadbd) set -- --collation-server=utf8mb4_nopad_bin --innodb-log-file-size=256M "$@" ;;
  mysqld) set -- --collation-server=utf8mb4_0900_bin --mysqlx=OFF "$@" ;;
esac
if [ -e /tls/tls.key ]; then set -- --ssl-cert=/tls/tls.crt --ssl-key=/tls/tls.key --require-secure-transport=ON "$@"; fi
# Text is compared byte by byte, and a value that does not fit is refused. What is lost when the node is lost is loaded again, so nothing
# waits for the disk; a commit outlives a crash of the server.
exec "$server" --no-defaults --datadir="$data" --tmpdir=/tmp --socket=/run/parity/mysqld.sock --pid-file=/run/parity/mysqld.pid \
  --port=3306 '--bind-address=*' --skip-name-resolve --local-infile=1 --secure-file-priv=/tmp --init-file=/run/parity/init.sql \
  --character-set-server=utf8mb4 --default-time-zone=+00:00 \
  --sql-mode=STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION \
  --max-allowed-packet=1G --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=2 --innodb-doublewrite=0 \
  --innodb-buffer-pool-size=256M --skip-log-bin --performance-schema=OFF "$@"
