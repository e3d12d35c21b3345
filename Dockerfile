# An exact tag; the digest is not pinned. Where that matters, pin it yourself:
#   docker build --build-arg BASE=python:3.13.9-slim-trixie@sha256:... .
# Any image will do that has Python 3.11 or newer with its venv module and a trust store (ca-certificates).
ARG BASE=python:3.13.9-slim-trixie

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY .locks .locks
COPY exporter exporter
COPY alerts alerts
COPY grafana grafana
# Two environments, so that the one which is shipped has neither pip nor what building needs. What builds the wheel and
# the libraries are those of the locks (tests/lock), each with its hash.
RUN python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/expiry-exporter \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement .locks/build.txt \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/build/wheel . \
    && /opt/build/bin/pip --python /opt/expiry-exporter install --no-cache-dir --require-hashes --requirement .locks/image.txt \
    && /opt/build/bin/pip --python /opt/expiry-exporter install --no-cache-dir --no-deps /opt/build/wheel/*.whl

# The same image again: the environment points to the interpreter it was made with.
FROM ${BASE}
LABEL org.opencontainers.image.title="expiry-exporter" \
      org.opencontainers.image.description="Warns, before an outage, that a certificate is about to expire" \
      org.opencontainers.image.url="https://github.com/expiry-exporter/expiry-exporter" \
      org.opencontainers.image.documentation="https://github.com/expiry-exporter/expiry-exporter/tree/main/exporter/manual" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/expiry-exporter /opt/expiry-exporter
# Numbers, not names: Kubernetes can then prove runAsNonRoot, and no base image must know the user.
RUN mkdir -p /etc/expiry-exporter /var/lib/expiry-exporter \
    && chown 65532:65532 /var/lib/expiry-exporter
# One heap of the C library for all threads, of which Python runs one at a time, and its free end is given back:
# ten thousand targets take 7 MB less.
ENV PATH=/opt/expiry-exporter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
WORKDIR /var/lib/expiry-exporter
# What was seen of endpoints that can't be seen now; losing it loses those series until they are seen again.
VOLUME /var/lib/expiry-exporter
EXPOSE 10119
# For the port of the usual command below. No proxy: a proxy in the environment is for probes, not for this.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:10119/-/healthy', timeout=4)"]
ENTRYPOINT ["expiry-exporter"]
# The configuration is yours: mount it at /etc/expiry-exporter. The port is that of all addresses, by IPv6 too.
CMD ["--config.file=/etc/expiry-exporter/expiry.yml", \
     "--state.path=/var/lib/expiry-exporter/state.sqlite", \
     "--web.listen-address=:10119"]
