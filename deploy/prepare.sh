#!/bin/sh
# Make the project in this folder on the first start, on the store that LISTLENS_STORE names.
# Containers run it before the server; on later starts it does nothing.
set -eu

[ -f listlens.toml ] && exit 0
# Made beside, then moved: who is killed on the way begins anew, and is not left on another store.
rm -rf .making
listlens init .making
if [ -n "${LISTLENS_STORE:-}" ]; then
    store=$(printf '%s' "$LISTLENS_STORE" | sed 's/[&|\\]/\\&/g')
    sed -i "s|^url = \"sqlite:///listlens.db\"|url = \"$store\"|" .making/listlens.toml
fi
mv .making/listlens.toml .
rm -rf .making
