# A GPU's worker: the image of the other processes, on a base for GPUs, with torch for fish-speech 1.5.
#
#     make image-worker BASE_IMAGE=...
#
# builds docker/web.Dockerfile on that base first, as WEB_IMAGE. Beyond what it asks for, the base has a C compiler and
# Python's headers: Triton builds its launchers at the first start. CUDA's libraries come with torch's
# wheels and the driver with NVIDIA's container toolkit, so one of NVIDIA's CUDA "base" images, with Python, will do.
# No weights are in it: mount them, read-only, at FISH_CHECKPOINT_DIR.
ARG WEB_IMAGE
FROM ${WEB_IMAGE}
USER 0:0
RUN --mount=type=bind,source=requirements-gpu.txt,target=/build/requirements.txt \
    --mount=type=bind,source=var/wheels/worker,target=/build/wheels \
    python -m ensurepip \
    && python -m pip install --no-index --find-links /build/wheels --no-cache-dir --requirement /build/requirements.txt \
    && python -m pip uninstall --yes pip
ENV VOICEREEL_ENGINE=fish \
    FISH_CHECKPOINT_DIR=/models/fish-speech-1.5 \
    TRITON_CACHE_DIR=/var/lib/voicereel/triton \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
CMD ["celery", "--quiet", "-A", "voicereel_site", "worker", "--pool", "threads", "--concurrency", "32", \
     "--queues", "gpu,voices", "--without-heartbeat", "--without-gossip", "--without-mingle"]
