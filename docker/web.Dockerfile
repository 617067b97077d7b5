# All processes but a GPU's worker: web, console, workers with the CPU engine, relay, dispatcher, beat, commands.
#
#     make image-web BASE_IMAGE=...
#
# BASE_IMAGE has Python 3.11 or 3.12 as python3, with its venv module: an official Python image on Debian, say,
# by the digest that you have read. The packages come from var/wheels/web, where
# `make wheels` put what requirements.txt names and checked it; the build itself asks no network.
ARG BASE_IMAGE

FROM ${BASE_IMAGE} AS build
RUN --mount=type=bind,source=requirements.txt,target=/build/requirements.txt \
    --mount=type=bind,source=var/wheels/web,target=/build/wheels \
    python3 -m venv /opt/voicereel \
    && /opt/voicereel/bin/pip install --no-index --find-links /build/wheels --no-cache-dir --require-hashes \
       --requirement /build/requirements.txt \
    && /opt/voicereel/bin/pip uninstall --yes setuptools pip
COPY manage.py NOTICE /app/
COPY accounts /app/accounts
COPY billing /app/billing
COPY speakers /app/speakers
COPY synthesis /app/synthesis
COPY templates /app/templates
COPY voicereel_site /app/voicereel_site
# Here, for nobody may write there later.
RUN /opt/voicereel/bin/python -m compileall -q /app

FROM ${BASE_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VoiceReel Studio" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/voicereel /opt/voicereel
COPY --from=build /app /app
ENV PATH=/opt/voicereel/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=voicereel_site.settings \
    VOICEREEL_VAR=/var/lib/voicereel \
    VOICEREEL_METRICS_PORT=9100
# All that it writes: scratch files. Mount an empty folder or a tmpfs here and at /tmp; the rest may be read-only.
RUN groupadd --gid 10001 voicereel \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin voicereel \
    && mkdir -p /var/lib/voicereel && chown 10001:10001 /var/lib/voicereel
VOLUME /var/lib/voicereel
WORKDIR /app
USER 10001:10001
EXPOSE 8000 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"VOICEREEL_METRICS_PORT\"]}/healthz', timeout=3)"]
CMD ["python", "-m", "voicereel_site.web_server", "--host", "0.0.0.0"]
