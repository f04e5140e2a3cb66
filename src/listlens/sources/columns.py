"""Which column of a table says what, by its name or by the user's mapping."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from listlens.core.errors import ConfigError, suggest

NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "photo", "path", "file_name", "filename", "url", "image_id"),
    "listing_id": ("listing_id",),
    "seller_id": ("seller_id",),
    "position": ("position",),
    "label": ("label", "labels"),
    "split": ("split",),
    "group": ("group",),
    "unlisted": ("unlisted",),
    "count": ("n_votes", "n_ratings", "num_votes", "num_ratings", "votes"),
    "deviation": ("deviation", "std", "sd", "stddev"),
    "image_a": ("image_a", "photo_a", "image_1", "photo_1", "image1", "photo1", "left"),
    "image_b": ("image_b", "photo_b", "image_2", "photo_2", "image2", "photo2", "right"),
    "better": ("better", "winner", "preferred", "choice"),
}
"""Roles, and the column names that mean them, the first found wins. Case does not matter."""

PHOTO_LEVEL = frozenset(
    {"label", "labels", "split", "group", "unlisted", "dup_group", "image_id", "url"}
)
"""Columns that speak of one photo: never attributes of a listing."""


def find_columns(
    columns: Sequence[str], mapping: Mapping[str, str], wanted: Collection[str]
) -> dict[str, str]:
    """Return the column that holds each role, for those roles that have one.

    Args:
        columns: names as they stand in the table.
        mapping: role to column, chosen by the user (``--map image=Bild``); wins over the names.
        wanted: roles to look for, of `NAMES`.

    Returns:
        Role to column name as written in the table.

    Raises:
        ConfigError: a mapping with an unknown role, or a mapped column that is not there.

    Example:
        >>> find_columns(["Bild", "Listing_ID", "price"], {"image": "Bild"}, NAMES)
        {'image': 'Bild', 'listing_id': 'Listing_ID'}
    """
    for role, column in mapping.items():
        if role not in NAMES:
            raise ConfigError(
                f"unknown name {role!r} in the column mapping. {suggest(role, NAMES)}"
            )
        if column not in columns and role in wanted:
            raise ConfigError(
                f"there is no column {column!r}, which was named as the {role} column. "
                + suggest(column, columns)
            )
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(_plain(column), column)
    found: dict[str, str] = {}
    for role in NAMES:
        if role in wanted:
            names = [by_name[name] for name in NAMES[role] if name in by_name]
            column = mapping.get(role) or next(iter(names), "")
            if column:
                found[role] = column
    return found


def _plain(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")
