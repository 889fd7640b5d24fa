# rlossctl in a container; docs/wheels.md has the commands. It was written without a Docker daemon at hand: hadolint
# reads it, but it has not been built yet. Take this sentence out after the first build.
#
#   docker build -t rlossctl .                           # CPU
#   docker build -t rlossctl:cuda --target cuda .        # NVIDIA GPUs
#
# Both install what requirements/hashes.txt pins, the CPU one with torch from PyTorch's index for CPUs.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build-cpu
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels -C cmake.define.RLOSSCTL_CUDA=OFF /source

# nvcc on top of the same Python; the kernels carry the CUDA runtime in themselves, torch brings its own libraries.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build-cuda
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ python3-dev python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN python3 -m venv /build && /build/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:${PYTHON}-slim-bookworm AS base
RUN useradd --create-home --uid 1000 rlossctl
COPY constraints.txt requirements/hashes.txt /requirements/
ENV PYTHONDONTWRITEBYTECODE=1

# Python here must be 3.12, as in build-cuda's Ubuntu.
FROM base AS cuda
RUN pip install --no-cache-dir --require-hashes -r /requirements/hashes.txt
RUN --mount=type=bind,from=build-cuda,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps /wheels/*.whl
USER 1000
WORKDIR /work
ENTRYPOINT ["rlossctl"]
CMD ["--help"]

FROM base AS cpu
# Hashes cannot be required here: hashes.txt has those of PyPI's torch, which is built for CUDA.
RUN --mount=type=bind,from=build-cpu,source=/wheels,target=/wheels \
    pip install --no-cache-dir -c /requirements/constraints.txt \
      --extra-index-url https://download.pytorch.org/whl/cpu /wheels/*.whl
USER 1000
WORKDIR /work
ENTRYPOINT ["rlossctl"]
CMD ["--help"]
