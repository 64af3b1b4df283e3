# understudy on NVIDIA GPUs, by onnxruntime's CUDA provider. Build from the repository's root:
#     docker build -f docker/cuda.Dockerfile -t understudy:cuda .
# CUDA and cuDNN must be those that onnxruntime-gpu was built for: for 1.20 and later, CUDA 12 and cuDNN 9.
FROM nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home understudy
WORKDIR /src
COPY . .
# as `make demo` does, then onnxruntime-gpu in place of onnxruntime: both cannot be there
RUN python3 -m venv /opt/understudy \
    && /opt/understudy/bin/python -m pip install -q --no-cache-dir --require-hashes --no-deps -r requirements-build.lock \
    && uv="/opt/understudy/bin/uv pip" \
    && install="$uv install -q --no-cache --python /opt/understudy/bin/python --no-build-isolation" \
    && $install --no-deps --require-hashes -r requirements-demo.lock \
    && $install --no-deps . \
    && $install "$(grep -oE '^s3fs==[^ ;]+' requirements.lock)" \
    && $uv uninstall -q --python /opt/understudy/bin/python onnxruntime \
    && $install "onnxruntime-gpu>=1.20" \
    && rm -rf /src/*
ENV PATH=/opt/understudy/bin:$PATH OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
USER understudy
WORKDIR /home/understudy
ENTRYPOINT ["understudy"]
CMD ["--help"]
