"""Category trees: a class is a node, and a node is its path from the top.

Paths are written with `SEPARATOR` between the levels, so a name may be repeated on another branch
or level (Vegetables > Asparagus > Asparagus).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = " > "


@dataclass(frozen=True)
class Tree:
    """Nodes by index, every parent before its children.

    Args:
        paths: of the nodes, ancestors included; make one with `Tree.of`.

    Example:
        >>> tree = Tree.of(["Fruit > Apple", "Fruit > Pear", "Bread"])
        >>> tree.paths
        ('Fruit', 'Fruit > Apple', 'Fruit > Pear', 'Bread')
        >>> tree.parent, [tree.paths[i] for i in tree.leaves]
        ((-1, 0, 0, -1), ['Fruit > Apple', 'Fruit > Pear', 'Bread'])
    """

    paths: tuple[str, ...]

    @classmethod
    def of(cls, paths: Iterable[str]) -> Tree:
        """Return the tree of these nodes and all their ancestors, in the order of first mention.

        Raises:
            ValueError: a path with an empty name.
        """
        found: dict[str, None] = {}
        for path in paths:
            found.update(dict.fromkeys(ancestors(path)))
        return cls(tuple(found))

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Tree:
        """Return the tree of (node, parent) pairs; the parent of a top node is empty.

        Raises:
            ValueError: a node with two parents, or a cycle.

        Example:
            >>> Tree.of_pairs([("Fruit", ""), ("Apple", "Fruit")]).paths
            ('Fruit', 'Fruit > Apple')
        """
        parents: dict[str, str] = {}
        for node, parent in pairs:
            known = parents.setdefault(node, parent)
            if known != parent:
                raise ValueError(
                    f"{node!r} is under {known!r} and under {parent!r}; a node has one parent. "
                    f"Where both are meant, write paths: {known}{SEPARATOR}{node}"
                )
        return cls.of(SEPARATOR.join(_way(node, parents)) for node in parents)

    @cached_property
    def index(self) -> dict[str, int]:
        """Path to node."""
        return {path: i for i, path in enumerate(self.paths)}

    @cached_property
    def parent(self) -> tuple[int, ...]:
        """Parent of each node, -1 for a node at the top."""
        above = (path.rpartition(SEPARATOR)[0] for path in self.paths)
        return tuple(self.index[path] if path else -1 for path in above)

    @cached_property
    def depth(self) -> tuple[int, ...]:
        """Level of each node, 1 at the top."""
        return tuple(path.count(SEPARATOR) + 1 for path in self.paths)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Children of each node."""
        below: list[list[int]] = [[] for _ in self.paths]
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                below[parent].append(node)
        return tuple(map(tuple, below))

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Nodes without children."""
        return tuple(i for i, below in enumerate(self.children) if not below)

    @cached_property
    def lineage(self) -> tuple[tuple[int, ...], ...]:
        """Each node with its ancestors, from the top down."""
        lines: list[tuple[int, ...]] = []
        for node, parent in enumerate(self.parent):
            lines.append((*(lines[parent] if parent >= 0 else ()), node))
        return tuple(lines)

    @property
    def n_levels(self) -> int:
        """Depth of the deepest node."""
        return max(self.depth, default=0)

    @staticmethod
    def common(leaves: Sequence[str]) -> str:
        """Return the deepest node that all these paths are at or below; empty where none is.

        Example:
            >>> Tree.common(["Fruit > Apple", "Fruit > Pear"])
            'Fruit'
        """
        ways = [path.split(SEPARATOR) for path in leaves]
        shared = []
        for names in zip(*ways, strict=False):
            if len(set(names)) > 1:
                break
            shared.append(names[0])
        return SEPARATOR.join(shared)


def ancestors(path: str) -> list[str]:
    """Return a path's ancestors from the top down, and the path itself.

    Raises:
        ValueError: an empty name.

    Example:
        >>> ancestors("Fruit > Apple")
        ['Fruit', 'Fruit > Apple']
    """
    names = path.split(SEPARATOR)
    if not all(name.strip() for name in names):
        raise ValueError(f"{path!r} has a level without a name")
    return [SEPARATOR.join(names[: i + 1]) for i in range(len(names))]


def _way(node: str, parents: dict[str, str]) -> list[str]:
    """Names from the top down to a node."""
    way = [node]
    while parents.get(way[0]):
        above = parents[way[0]]
        if above in way:
            raise ValueError(
                f"{above!r} is its own ancestor: {SEPARATOR.join([above, *way])}. "
                "A tree has no cycle."
            )
        way.insert(0, above)
    return way
