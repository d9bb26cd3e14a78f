# Ringfence on CPUs, for any user id:
#
#     docker build --tag ringfence .
#     docker run --rm --volume "$PWD:/work" --volume ringfence-cache:/cache ringfence doctor
#
# With GPUs:
#
#     docker build --tag ringfence --build-arg TORCH_INDEX=https://pypi.org/simple .
#     docker run --gpus all --rm --volume "$PWD:/work" --volume ringfence-cache:/cache ringfence doctor
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=figures
WORKDIR /source
RUN python -m venv /opt/ringfence
# Of torch's own index torch alone is taken; what it needs comes from the package index, as the lock has it.
RUN /opt/ringfence/bin/pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" "torch==${TORCH}"
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY recipes recipes
RUN /opt/ringfence/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/ringfence /opt/ringfence
RUN useradd --create-home ringfence && mkdir --mode 1777 /cache /work
ENV PATH=/opt/ringfence/bin:$PATH \
    RINGFENCE_CACHE=/cache/ringfence \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib
USER ringfence
WORKDIR /work
ENTRYPOINT ["ringfence"]
CMD ["--help"]
