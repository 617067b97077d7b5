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
JUDGES := tests/browser/node_modules/.package-lock.json
HELM := tests/deployment/node_modules/.bin/helm

# Deployments: a file docker/helm/values-PLACE.yaml, and more for helm, as --kube-context=...
PLACE ?= staging
HELM_FLAGS ?=

# Images: by docker, or buildah; REGISTRY with a slash at its end. BASE_IMAGE and GPU_BASE_IMAGE: what to build on.
BUILDER ?= docker
RELEASE ?= Unreleased
SINCE ?= HEAD
VERSION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
REGISTRY ?=

# What asks the database for more than storing rows, once more on PostgreSQL.
BOTH_PROFILES := tests/accounts tests/billing tests/speakers \
  tests/synthesis/test_rendering.py tests/synthesis/test_jobs.py tests/synthesis/test_synthesize.py \
  tests/synthesis/test_links.py tests/synthesis/test_retention.py tests/synthesis/test_pronunciations.py \
  tests/synthesis/test_dispatcher.py tests/synthesis/test_studio.py tests/synthesis/test_page_queries.py \
  --ignore tests/accounts/test_outbox.py

# What nothing else may run beside: it compares times.
ALONE := $(addprefix tests/operations/test_,hostile_clients.py fair_turns.py rolling_restart.py)
# Likewise, in a browser. Its driver keeps a loop in the process, in which Django would not ask a database.
BROWSED_ALONE := $(addprefix tests/browser/test_,first_audio.py studio.py money.py lighthouse.py)

# The sentences of pages and errors, and what they are in Korean.
CATALOGUE := templates/locale/ko/LC_MESSAGES/django

.PHONY: test-drills test-kernels test-images wheels wheels-gpu base-image image-web image-worker images push sbom release-notes openapi-diff lint-migrations compose-files deploy rollback e2e restore-drill dashboards messages pictures run run-gpu run-tls demo test test-services check format bench-render bench-api bench-billing bench-pages bench-console bench-growth soak chaos bench-fish openapi requirements voices \
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

test-services: $(DEV) $(FISH) $(DEBIAN) $(JUDGES) $(HELM)  ## what is slow, kills servers, or needs Debian packages (installs them)
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "(services or fish_weights) and not drills" --ignore tests/operations --ignore tests/browser
	$(BIN)/python -m pytest -m services $(BROWSED_ALONE)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m services tests/browser $(addprefix --ignore ,$(BROWSED_ALONE))
	$(BIN)/python -m pytest -m services $(ALONE)
	$(BIN)/python -m pytest -m "services and not drills" -n 3 --dist loadfile tests/operations $(addprefix --ignore ,$(ALONE))

test-drills: $(DEV) $(FISH) $(DEBIAN)  ## the longest: jobs billed while all fails, a restore, engines that come and go (15 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m drills

test-kernels: $(FISH)  ## what a change of the GPU's kernels may break: every shape, without a GPU (five minutes)
	$(BIN)/python -m pytest -n 2 -m kernels tests/synthesis/fish

test-images: $(DEV) $(FISH) $(DEBIAN)  ## both images, built and run as docker/compose.yml says; needs root (20 minutes)
	$(BIN)/python -m pytest -m images tests/deployment/test_images.py

e2e: $(DEV)  ## URL=https://... KEY=...: a customer's way through a deployment, from outside
	@E2E_URL="$(URL)" E2E_KEY="$(KEY)" $(BIN)/python -m pytest -m deployment tests/e2e/test_deployment.py

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive accounts billing speakers synthesis \
	  voicereel_site sdk examples benchmarks manage.py
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/zizmor --quiet --offline .github
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --format openapi-json --file var/openapi.json
	@cmp var/openapi.json templates/docs/openapi.json || \
	  { echo "The API changed: run 'make openapi' and commit templates/docs/openapi.json"; exit 1; }
	@secret() { $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))'; }; \
	VOICEREEL_ENVIRONMENT=production DATABASE_URL=postgres://unused REDIS_URL=redis://unused \
	  VOICEREEL_SECRET_KEY=$$(secret) VOICEREEL_API_KEY_PEPPER=$$(secret) VOICEREEL_ENCRYPTION_KEYS=$$(secret) \
	  VOICEREEL_HTTPS=true VOICEREEL_TRUSTED_PROXIES=1 VOICEREEL_ALLOWED_HOSTS=voicereel.example.com \
	  VOICEREEL_MAIL_URL=smtp+tls://unused VOICEREEL_MAIL_FROM=noreply@voicereel.example.com \
	  VOICEREEL_S3_BUCKET=unused VOICEREEL_SELLER_NAME=Nobody \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the images are made of, fetched and checked here: their build asks no network.
wheels: $(ENVIRONMENT)
	@mkdir -p var/wheels/web var/wheels/worker
	@# The image's Python may be an older 3.11 than this machine's, which needs one more.
	@sed -E "s/ ; python_full_version < '3\.11\.[0-9]+'//" requirements.txt > var/wheels/requirements.txt
	@$(PIP) download --require-hashes --no-deps --requirement var/wheels/requirements.txt --dest var/wheels/web

wheels-gpu: wheels
	@# With what torch brings along, which is another thing on each kind of machine.
	@$(PIP) download --requirement requirements-gpu.txt --dest var/wheels/worker

base-image:  ## BASE_IMAGE=... PACKAGES=...: one of Debian's packages, where none can be pulled
	docker/base-image.sh $(BASE_IMAGE) $(PACKAGES)

image-web: wheels  ## BASE_IMAGE=...: voicereel-web:VERSION
	@[ -n "$(BASE_IMAGE)" ] || { echo "Say what to build on: make $@ BASE_IMAGE=... (docker/web.Dockerfile says what it needs)"; exit 1; }
	$(BUILDER) build --file docker/web.Dockerfile --build-arg BASE_IMAGE=$(BASE_IMAGE) \
	  --build-arg REVISION=$(VERSION) --tag $(REGISTRY)voicereel-web:$(VERSION) .

image-worker: wheels-gpu  ## GPU_BASE_IMAGE=...: voicereel-worker:VERSION
	@[ -n "$(GPU_BASE_IMAGE)" ] || { echo "Say what to build on: make $@ GPU_BASE_IMAGE=... (docker/worker.Dockerfile says what it needs)"; exit 1; }
	$(BUILDER) build --file docker/web.Dockerfile --build-arg BASE_IMAGE=$(GPU_BASE_IMAGE) \
	  --build-arg REVISION=$(VERSION) --tag voicereel-web-for-gpus:$(VERSION) .
	$(BUILDER) build --file docker/worker.Dockerfile --build-arg WEB_IMAGE=voicereel-web-for-gpus:$(VERSION) \
	  --tag $(REGISTRY)voicereel-worker:$(VERSION) .

push:  ## REGISTRY=...: both images, to where clusters fetch them
	$(BUILDER) push $(REGISTRY)voicereel-web:$(VERSION)
	$(BUILDER) push $(REGISTRY)voicereel-worker:$(VERSION)

sbom: $(DEV)  ## what is in the images, as CycloneDX: var/sbom/
	@mkdir -p var/sbom
	$(BIN)/cyclonedx-py requirements --output-reproducible --output-file var/sbom/voicereel-web.json requirements.txt
	cat requirements.txt requirements-gpu.txt | $(BIN)/cyclonedx-py requirements --output-reproducible \
	  --output-file var/sbom/voicereel-worker.json -

release-notes:  ## what CHANGELOG.md says of VERSION (of what is unreleased without): var/release-notes.md
	@mkdir -p var
	@awk -v version="$(RELEASE)" '/^## /{on = ($$2 == version)} on' CHANGELOG.md > var/release-notes.md
	@[ -s var/release-notes.md ] || { echo "CHANGELOG.md says nothing of $(RELEASE)"; exit 1; }

openapi-diff: $(HELM)  ## SINCE=main: what the API's document takes away from clients
	@mkdir -p var
	@git show $(SINCE):templates/docs/openapi.json > var/openapi-before.json
	node tests/deployment/openapi_diff.mjs var/openapi-before.json templates/docs/openapi.json

lint-migrations: $(DEV)  ## SINCE=main: whether the version before goes on with the new ones; asks a PostgreSQL
	$(BIN)/python -m tests.deployment.migration_lint $(SINCE)

compose-files: $(ENVIRONMENT)  ## docker/.env and docker/secrets/, which docker/compose.yml names
	@$(BIN)/python -m voicereel_site.compose_files

# A secret of a workflow is a text, and Helm reads a file.
define keep_kubeconfig
	@if [ -n "$$KUBECONFIG_TEXT" ]; then umask 077; mkdir -p var; printf '%s' "$$KUBECONFIG_TEXT" > var/kubeconfig; fi
endef

deploy: $(HELM)  ## PLACE=staging VERSION=... NGINX_IMAGE=...: to the cluster of KUBECONFIG; back by itself if that fails
	$(keep_kubeconfig)
	$${KUBECONFIG_TEXT:+env KUBECONFIG=var/kubeconfig} $(HELM) upgrade --install voicereel docker/helm/voicereel --namespace voicereel --create-namespace \
	  --values docker/helm/values-$(PLACE).yaml --set image.registry=$(REGISTRY),image.tag=$(VERSION) \
	  --set proxy.image=$(NGINX_IMAGE) --rollback-on-failure --timeout 40m $(HELM_FLAGS)

rollback: $(HELM)  ## to what was deployed before
	$(keep_kubeconfig)
	$${KUBECONFIG_TEXT:+env KUBECONFIG=var/kubeconfig} $(HELM) rollback voicereel --namespace voicereel --wait --timeout 40m $(HELM_FLAGS)

openapi: $(ENVIRONMENT)
	$(BIN)/python manage.py spectacular --format openapi-json --file templates/docs/openapi.json

messages: $(DEV)  ## gather what pages and errors say, for translators (needs gettext), and compile it
	$(BIN)/python manage.py makemessages --locale ko --no-wrap --no-obsolete --add-location file \
	  --ignore .venv --ignore node_modules --ignore sdk --ignore tests --ignore examples --ignore benchmarks
	$(BIN)/python -c 'import polib; polib.pofile("$(CATALOGUE).po").save_as_mofile("$(CATALOGUE).mo")'

pictures: $(DEV) $(DEBIAN)  ## the documentation's pictures again, of the running product
	$(BIN)/python -m tests.browser.take_pictures

bench-render: $(DEV)  ## real-time factor, share outside the engine, POST to succeeded
	PYTHONPATH=. $(BIN)/python benchmarks/render.py

bench-api: $(BENCH)  ## 500 and 1,000 requests a second, and saturation beside two peers
	PYTHONPATH=. $(BIN)/python -m benchmarks.api

bench-billing: $(DEV)  ## a million usage events: the month's report, a thousand drafts, metering
	PYTHONPATH=. $(BIN)/python -m benchmarks.billing

bench-pages: $(DEV)  ## the dashboard's pages of a tenant with 100,000 jobs and a million usage events
	PYTHONPATH=. $(BIN)/python -m benchmarks.pages

bench-console: $(DEV)  ## the operators' lists with a million jobs, usage events and audit rows each
	PYTHONPATH=. $(BIN)/python -m benchmarks.console

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

restore-drill: $(DEV) $(DEBIAN)  ## destroy a service and restore it to a second: RTO, RPO
	PYTHONPATH=. $(BIN)/python -m benchmarks.restore_drill

dashboards: $(DEV)  ## Grafana's dashboards again, of their table
	$(BIN)/python docker/monitoring/grafana/dashboards.py

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

# Lighthouse and the HTML validator. Who has npm already keeps it: Debian's would take its place.
$(JUDGES): $(DEBIAN) tests/browser/package-lock.json
	@command -v npm > /dev/null || { sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  DEBIAN_FRONTEND=noninteractive $$sudo apt-get -qq install --yes --no-install-recommends nodejs npm > /dev/null; }
	@npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# Helm, and what judges workflows and what other makers' operators take.
$(HELM): $(ENVIRONMENT) tests/deployment/package-lock.json
	@command -v npm > /dev/null || { sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  DEBIAN_FRONTEND=noninteractive $$sudo apt-get -qq install --yes --no-install-recommends nodejs npm > /dev/null; }
	@npm ci --prefix tests/deployment --ignore-scripts --no-audit --no-fund --silent
	@$(BIN)/python tests/deployment/unpack_helm.py
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
