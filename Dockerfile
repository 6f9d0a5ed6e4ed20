# The environment of requirements.lock, and the command `sisr`.
#
#   docker build --tag sisr .                                                              for the CPU
#   docker build --tag sisr --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 .         for NVIDIA GPUs
#   docker run --rm --volume "$PWD/results:/sisr/results" sisr make reproduce
#
# TORCH_INDEX: the address of an index with PyTorch for the CPU makes a smaller image.
ARG BASE=python:3.13-slim
FROM ${BASE}
ARG TORCH_INDEX=
WORKDIR /sisr
RUN apt-get update && apt-get install --yes --no-install-recommends git make g++ python3 python3-venv && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make environment TORCH_INDEX="$TORCH_INDEX" && rm -rf ~/.cache
ENV PATH=/sisr/.venv/bin:$PATH VIRTUAL_ENV=/sisr/.venv
CMD ["sisr", "--help"]
