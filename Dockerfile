# The explorer as a container.
#
#   docker build -t dual-bn-explorer .
#   docker run --rm -p 8501:8501 dual-bn-explorer            # then open http://localhost:8501
#
# With CUDA (run it with --gpus all):
#   docker build -t dual-bn-explorer --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .

ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# Where torch comes from. Empty: from the default index, where torch for Linux is a CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# What is installed changes less often than the code, so it comes first: a change of code rebuilds only the last layers.
WORKDIR /srv
COPY requirements.txt .
# Only torch is taken from its own index; the second install finds it there already and adds the rest. What only builds
# or tests packages goes again, and no program keeps the right to run as root whoever starts it.
RUN python3 -m venv /opt/venv \
    && grep '^torch==' requirements.txt > /tmp/torch.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r /tmp/torch.txt \
    && pip install -r requirements.txt \
    && pip uninstall --yes pip setuptools \
    && rm -rf /tmp/torch.txt \
        /opt/venv/lib/python3*/site-packages/torch/test \
        /opt/venv/lib/python3*/site-packages/torch/include \
        /opt/venv/lib/python3*/site-packages/pandas/tests \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin explorer

# Owned by root: the server cannot change its own code or checkpoints.
COPY LICENSE .
COPY checkpoints/ checkpoints/
COPY engine/ engine/
COPY app/ app/

# A container is open to strangers unless told otherwise: `-e DUAL_BN_MODE=local` lifts the demo's limits (app/mode.py).
ENV DUAL_BN_MODE=demo

# Threads: set as many as the container may use, since torch counts the host's cores whatever the container's share. The
# spin count keeps waiting threads from burning a core, which slows a shared machine several times over. All of these can
# be changed with `docker run -e`.
ENV OMP_NUM_THREADS=2 \
    GOMP_SPINCOUNT=1000 \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501 \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none

USER 10001
EXPOSE 8501
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "app/server.py"]
