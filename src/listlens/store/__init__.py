"""The store: one SQL schema for SQLite and PostgreSQL, and the files beside it.

`open_store` in `open.py` gives a `Store` with one repository per noun: photos, contents, vectors,
labels, models, predictions, forgetting. SQL holds rows; embeddings and thumbnails are files.
Nothing above this folder writes SQL.
"""
