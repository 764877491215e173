#!/bin/sh
# Ready is who answers a query.
if command -v mariadb >/dev/null; then client=mariadb; else client=mysql; fi
MYSQL_PWD=$(cat /secrets/password) exec "$client" --no-defaults --socket=/run/parity/mysqld.sock --user="$(cat /secrets/user)" \
  --database="$(cat /secrets/database)" --batch --skip-column-names --execute='SELECT 1'
