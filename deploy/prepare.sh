#!/bin/sh
# Make the project in this folder on the first start, on the store that LISTLENS_STORE names.
# Containers run it before the server; on later starts it does nothing.
set -eu

[ -f listlens.toml ] && exit 0
listlens init .
[ -z "${LISTLENS_STORE:-}" ] || sed -i "s|^url = \"sqlite:///listlens.db\"|url = \"$LISTLENS_STORE\"|" listlens.toml
