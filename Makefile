# nightshift's commands. `make help` lists them.
SHELL := /bin/sh
RUN_DATE ?= 2011-11-30
IN := scripts/setup && . scripts/environment &&

.DEFAULT_GOAL := help
.PHONY: help nightly test up backfill rollback drift check lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

nightly: ## run one night through Airflow on the sample and show what came of it (RUN_DATE=2011-11-30)
	@$(IN) python -m scripts.nightly $(RUN_DATE)

up: ## start Airflow, MLflow and the lookup service on loopback, until Ctrl-C
	@$(IN) exec python -m scripts.up

backfill: ## run past business days through Airflow: FROM=2011-11-01 TO=2011-11-07, both included
	@test -n "$(FROM)" && test -n "$(TO)" || { echo "say which days: make backfill FROM=2011-11-01 TO=2011-11-07" >&2; exit 2; }
	@$(IN) python -m scripts.backfill $(FROM) $(TO)

rollback: ## let the lookup service serve the run before the live one again
	@$(IN) python -m jobs.rollback

drift: ## compare the last days with what the live model learned from (RUN_DATE=2011-11-30)
	@$(IN) python -m jobs.drift_report --run-date $(RUN_DATE)

test: ## set up and run all tests
	@$(IN) python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: ## lint and types
	@$(IN) ruff check . && ruff format --check . && mypy

lock: ## compile the pinned requirements from the short lists in requirements/
	@scripts/setup
	.tools/bin/uv pip compile -q --universal --python-version 3.11 --no-header --annotation-style line requirements/run.in -o requirements.txt
	.tools/bin/uv pip compile -q --universal --python-version 3.11 --no-header --annotation-style line requirements/dev.in -o requirements/dev.txt

clean: ## remove all state of this checkout (var/)
	@. scripts/environment && home=$$(cd "$$NIGHTSHIFT_HOME" && pwd -P) && case $$home in \
	  "$$(pwd -P)"/?*) rm -rf "$$home" ;; \
	  *) echo "clean: NIGHTSHIFT_HOME is $$home, which is not inside this checkout: remove it by hand" >&2; exit 1 ;; \
	esac
