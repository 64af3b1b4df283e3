# understudy on CPUs, with object stores. Build from the repository's root: docker build -f docker/cpu.Dockerfile -t understudy .
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
# as `make demo` does: locked by hash; the build tools first
RUN python -m venv /opt/understudy \
    && /opt/understudy/bin/python -m pip install -q --no-cache-dir --require-hashes --no-deps -r requirements-build.lock \
    && install="/opt/understudy/bin/uv pip install -q --no-cache --python /opt/understudy/bin/python --no-build-isolation" \
    && $install --no-deps --require-hashes -r requirements-demo.lock \
    && $install --no-deps . \
    && $install "$(grep -oE '^s3fs==[^ ;]+' requirements.lock)"

FROM python:3.11-slim
# libgomp: onnxruntime's threads
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home understudy
COPY --from=build /opt/understudy /opt/understudy
ENV PATH=/opt/understudy/bin:$PATH OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
USER understudy
WORKDIR /home/understudy
ENTRYPOINT ["understudy"]
CMD ["--help"]
