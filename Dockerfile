# The command `listlens` in a small image: docker run --rm -v "$PWD:/data" listlens auto photos ...
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/listlens \
    && /opt/listlens/bin/pip install --no-cache-dir --disable-pip-version-check ".[tables,postgres]"

FROM python:3.13-slim
LABEL org.opencontainers.image.title="listlens" \
      org.opencontainers.image.licenses="Apache-2.0"
# A user without rights. Whose files /data holds is said by `docker run --user`.
RUN useradd --uid 10001 --user-group --create-home listlens \
    && install --directory --owner=listlens --group=listlens /data
COPY --from=build /opt/listlens /opt/listlens
ENV PATH="/opt/listlens/bin:$PATH" \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
# A command that ends, not a service: there is nothing to ask for its health.
HEALTHCHECK NONE
ENTRYPOINT ["listlens"]
CMD ["--help"]
