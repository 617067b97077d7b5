# Every target does its own set-up; see README.md.
PORT ?= 8000
TLS_PORT ?= 8443
MINUTES ?= 10
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
ENVIRONMENT := $(BIN)/.installed
DEV := $(BIN)/.installed-dev
GPU := $(BIN)/.installed-gpu
FISH := $(BIN)/.installed-fish-speech
BENCH := $(BIN)/.installed-bench
DEBIAN := $(BIN)/.installed-debian

# What asks the database for more than storing rows, once more on PostgreSQL.
BOTH_PROFILES := tests/accounts tests/billing tests/speakers \
  tests/synthesis/test_rendering.py tests/synthesis/test_jobs.py tests/synthesis/test_synthesize.py \
  tests/synthesis/test_links.py tests/synthesis/test_retention.py tests/synthesis/test_pronunciations.py \
  tests/synthesis/test_dispatcher.py \
  --ignore tests/accounts/test_outbox.py

# What nothing else may run beside: it compares times.
ALONE := $(addprefix tests/operations/test_,hostile_clients.py fair_turns.py rolling_restart.py)

.PHONY: run run-gpu run-tls demo test test-services check format bench-render bench-api bench-billing bench-growth soak chaos bench-fish openapi requirements voices \
        speaker-encoder clean

run: $(ENVIRONMENT)  ## web and worker on 127.0.0.1:PORT until Ctrl-C
	@exec $(BIN)/python -m voicereel_site.local_stack --port $(PORT)

run-gpu: $(GPU)  ## the same with fish-speech 1.5, from FISH_CHECKPOINT_DIR
	@VOICEREEL_ENGINE=fish exec $(BIN)/python -m voicereel_site.local_stack --port $(PORT)

run-tls: $(ENVIRONMENT) $(DEBIAN)  ## the same behind nginx, on https://127.0.0.1:TLS_PORT
	@exec $(BIN)/python -m voicereel_site.local_nginx --port $(TLS_PORT)

demo: $(ENVIRONMENT)  ## hear a two-speaker conversation
	@PYTHONPATH=. $(BIN)/python examples/demo.py

test: $(DEV)  ## needs nothing but Python and PyPI; uses PostgreSQL and Redis where they answer
	@$(MAKE) --no-print-directory $(FISH) || echo "fish-speech could not be installed; its tests are left out."
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/e2e --ignore tests/newcomer
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/e2e tests/newcomer
	TEST_PROFILE=production $(BIN)/python -m pytest -n 2 --dist loadfile $(BOTH_PROFILES)

test-services: $(DEV) $(FISH) $(DEBIAN)  ## what is slow, kills servers, or needs Debian packages (installs them)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "services or fish_weights" --ignore tests/operations
	$(BIN)/python -m pytest -m services $(ALONE)
	$(BIN)/python -m pytest -m services -n 3 tests/operations $(addprefix --ignore ,$(ALONE))

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive accounts billing speakers synthesis \
	  voicereel_site sdk examples benchmarks manage.py
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --format openapi-json --file var/openapi.json
	@cmp var/openapi.json templates/docs/openapi.json || \
	  { echo "The API changed: run 'make openapi' and commit templates/docs/openapi.json"; exit 1; }
	@DATABASE_URL=postgres://unused VOICEREEL_HTTPS=true VOICEREEL_API_KEY_PEPPER=for-this-check-only VOICEREEL_ENCRYPTION_KEYS=for-this-check-only VOICEREEL_MAIL_URL=consolemail:// \
	  VOICEREEL_SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))') \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: $(ENVIRONMENT)
	$(BIN)/python manage.py spectacular --format openapi-json --file templates/docs/openapi.json

bench-render: $(DEV)  ## real-time factor, share outside the engine, POST to succeeded
	PYTHONPATH=. $(BIN)/python benchmarks/render.py

bench-api: $(BENCH)  ## 500 and 1,000 requests a second, and saturation beside two peers
	PYTHONPATH=. $(BIN)/python -m benchmarks.api

bench-billing: $(DEV)  ## a million usage events: the month's report, a thousand drafts, metering
	PYTHONPATH=. $(BIN)/python -m benchmarks.billing

bench-growth: $(DEV)  ## cost of a request and of a job, by jobs, tenants and lines
	PYTHONPATH=. $(BIN)/python -m benchmarks.growth

soak: $(DEV)  ## MINUTES=10 of load: memory of every process, errors
	PYTHONPATH=. $(BIN)/python -m benchmarks.soak $(MINUTES)

chaos: $(DEV)  ## 500 jobs while everything is killed at random; at most ten minutes
	PYTHONPATH=. $(BIN)/python -m benchmarks.chaos

bench-fish: $(FISH)  ## the fish-speech engine beside its library; a dry run without a GPU
	PYTHONPATH=. $(BIN)/python benchmarks/fish_gpu.py

requirements:  ## pin pyproject.toml again
	uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header -o requirements.txt
	uv pip compile -q pyproject.toml --group dev -c requirements.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -o requirements-dev.txt
	# torch brings its CUDA packages along, pinned by itself; a CPU build of it needs none.
	uv pip compile -q --group gpu -c requirements.txt -c requirements-dev.txt --universal \
	  --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  | grep -Ev '^(nvidia|cuda)-' > requirements-gpu.txt
	uv pip compile -q --group bench -c requirements.txt -c requirements-dev.txt --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --no-annotate -o requirements-bench.txt
	uv pip compile -q --group fish-speech --no-deps --universal --python-version 3.11 \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate > requirements-fish-speech.txt

voices: $(ENVIRONMENT)  ## the preset voices again, from their npm package
	mkdir -p .cache && cd .cache && npm pack --silent kokoro-js@1.2.1
	$(BIN)/python -m synthesis.engines.voices.build .cache/kokoro-js-1.2.1.tgz

speaker-encoder:  ## the speaker encoder again, from its package (installs torch beside, not into, .venv)
	$(PYTHON) -m venv .cache/encoder
	.cache/encoder/bin/pip --quiet install torch==2.13.0 librosa==0.11.0 onnx==1.23.2
	.cache/encoder/bin/pip --quiet install --no-deps Resemblyzer==0.1.4
	.cache/encoder/bin/python synthesis/engines/export_speaker_encoder.py synthesis/engines/speaker_encoder.onnx

clean:
	rm -rf .venv .cache var

$(ENVIRONMENT): requirements.txt sdk/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "VoiceReel needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up .venv (a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --editable ./sdk
	@touch $@

$(DEBIAN): $(ENVIRONMENT) tests/debian-packages.txt
	@packages=$$(grep -v '^#' tests/debian-packages.txt); \
	  if ! dpkg --status $$packages > /dev/null 2>&1; then \
	    echo "Installing Debian packages:" $$packages; \
	    sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    export DEBIAN_FRONTEND=noninteractive; \
	    $$sudo apt-get -qq update && $$sudo apt-get -qq install --yes --no-install-recommends $$packages > /dev/null; \
	  fi
	@touch $@

$(GPU): $(ENVIRONMENT) requirements-gpu.txt
	@echo "Adding torch and what else the fish-speech engine needs (on Linux 3 GB with CUDA)"
	@$(PIP) install -r requirements-gpu.txt
	@touch $@

# Without its dependencies: they are half a training stack, and PortAudio; tests enter only its models.
$(FISH): $(DEV) $(GPU) requirements-fish-speech.txt
	@$(PIP) install --no-deps -r requirements-fish-speech.txt
	@touch $@

$(BENCH): $(DEV) requirements-bench.txt
	@$(PIP) install --require-hashes -r requirements-bench.txt
	@touch $@

$(DEV): $(ENVIRONMENT) requirements-dev.txt
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@
