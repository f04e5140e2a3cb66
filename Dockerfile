# The command `listlens` in a small image: docker run --rm -v "$PWD:/data" listlens auto photos ...
# It serves too: docker run -v shop:/data -p 127.0.0.1:8000:8000 listlens serve --host 0.0.0.0
# (deploy/compose.yml does so on PostgreSQL.)
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/listlens \
    && /opt/listlens/bin/pip install --no-cache-dir --disable-pip-version-check ".[tables,postgres,serve]"

FROM python:3.13-slim
LABEL org.opencontainers.image.title="listlens" \
      org.opencontainers.image.licenses="Apache-2.0"
# A user without rights. Whose files /data holds is said by `docker run --user`.
RUN useradd --uid 10001 --user-group --create-home listlens \
    && install --directory --owner=listlens --group=listlens /data
COPY --from=build /opt/listlens /opt/listlens
COPY deploy/prepare.sh /usr/local/share/listlens/prepare.sh
ENV PATH="/opt/listlens/bin:$PATH" \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
EXPOSE 8000
# Most commands end, and a worker has no port; whoever serves asks /health (deploy/).
HEALTHCHECK NONE
ENTRYPOINT ["listlens"]
CMD ["--help"]
