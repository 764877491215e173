# Two commands: `make demo` and `make test`. Each installs what it needs first (Debian or Ubuntu; anywhere else: see CONTRIBUTING.md).
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo test check lint typecheck generate bench clean

export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

demo: .setup-demo
	npx parity run examples/flights/run.yaml

test: .setup-test check
	scripts/test.sh

# What CI checks before it runs a test.
check: .setup-demo
	node scripts/generate.ts --check
	biome ci .
	tsc --noEmit

generate: .setup-demo
	node scripts/generate.ts

bench: .setup-test
	bench/setup.sh
	node bench/run.ts

clean:
	rm -rf node_modules dist coverage

.PHONY: .setup-demo .setup-test
.setup-demo:
	@scripts/setup.sh demo
.setup-test:
	@scripts/setup.sh test
