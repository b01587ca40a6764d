# trajfmt with everything that `mct` needs.
#
#   docker build -t trajfmt .                    torch with CUDA, as the package index has it; run with --gpus all
#   docker build -t trajfmt:cpu \
#     --build-arg TORCH="torch --index-url INDEX" .    a smaller image without CUDA; INDEX is the address of the
#                                                      CPU builds on PyTorch's installation page
#   docker run --rm --gpus all -v "$PWD":/work trajfmt mct distill --traj two.mct --data data
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
ARG TORCH="torch"
RUN python -m venv /opt/trajfmt
ENV PATH=/opt/trajfmt/bin:$PATH
RUN pip install --no-cache-dir ${TORCH}
COPY . /source
RUN pip install --no-cache-dir '/source[mct,hub]'

FROM python:${PYTHON}-slim
# Triton, with which torch compiles for a GPU, and torch's CPU code generator need a C++ compiler.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/trajfmt /opt/trajfmt
ENV PATH=/opt/trajfmt/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home trajfmt
USER trajfmt
WORKDIR /work
CMD ["traj", "--help"]
