"""Stages of models with their history, canary shares, and the policy that a prediction was under.

Revision ID: 0006
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

WHY = "before stages were kept, the newest answered"


def upgrade() -> None:
    """Create the history, and let each task's newest model go on answering."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "stage_change",
        sa.Column("id", whole, autoincrement=True, nullable=False),
        sa.Column("model_id", whole, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("from_stage", sa.Text(), nullable=True),
        sa.Column("to_stage", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_stage_change_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_change")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_stage_change_model_id"), "stage_change", ["model_id"], unique=False)
    op.add_column("model", sa.Column("share", sa.Float(), nullable=True))
    op.add_column("prediction", sa.Column("policy_version", sa.Integer(), nullable=True))
    _tell_history()
    op.create_index(
        "uq_model_live",
        "model",
        ["task_id"],
        unique=True,
        sqlite_where=sa.text("stage = 'live'"),
        postgresql_where=sa.text("stage = 'live'"),
    )


def _tell_history() -> None:
    """Write down that each model answered until the next one was trained."""
    model = sa.table("model", *map(sa.column, ("id", "task_id", "version", "stage")))
    created = sa.column("created_at", sa.DateTime(timezone=True))
    connection, now = op.get_bind(), datetime.now(UTC)
    query = sa.select(model.c.id, model.c.task_id).order_by(model.c.task_id, model.c.version)
    previous: tuple[int, int] | None = None
    told: list[tuple[int, str, str | None, str]] = []
    for model_id, task_id in connection.execute(query).all():
        first = previous is None or previous[1] != task_id
        if not first and previous is not None:
            told.append((previous[0], "superseded", "live", "retired"))
        told.append((model_id, "registered" if first else "promoted", None, "live"))
        previous = (model_id, task_id)
    stages = {model_id: to for model_id, _, _, to in told}
    for model_id, stage in stages.items():
        connection.execute(sa.update(model).where(model.c.id == model_id).values(stage=stage))
    change = sa.table(
        "stage_change",
        *map(sa.column, ("model_id", "action", "from_stage", "to_stage", "who", "why")),
        created,
    )
    for model_id, action, before, after in told:
        row = {"model_id": model_id, "action": action, "from_stage": before, "to_stage": after}
        row |= {"who": "", "why": WHY, "created_at": now}
        connection.execute(sa.insert(change).values(row))
