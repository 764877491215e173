#!/bin/sh
# What a scheduler of this project would run; what it must know is in its environment (docs/reference/pipelines.md).
set -eu
refresh=
if [ "$PARITY_MODE" = Full ]; then refresh=--full-refresh; fi
own=$(dirname "$PARITY_REQUEST")
exec dbt run $refresh --profiles-dir . --target-path "$own/target" --log-path "$own/logs"
