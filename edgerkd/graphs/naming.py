"""Names of the tensors and nodes of a graph: new ones, and those that edgerkd gives, freed."""

from edgerkd.graphs.values import Graph

_OURS = ("images", "logits", "cotangent", "gradient")
_PREFIXES = ("grad_", "edgerkd_")


class Names:
    """The names that the nodes and tensors of a graph have: runtimes refuse a second node, or tensor, of one name.

    A name is given once for both, so that a node can be called what its output is.
    """

    def __init__(self, graph: Graph) -> None:
        self.taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
        for node in graph.node:
            self.taken |= {node.name, *node.input, *node.output}

    def fresh(self, wish: str) -> str:
        """A name that nothing has: the one wished for, with a number behind it where that is taken."""
        found, number = wish, 1
        while found in self.taken:
            number += 1
            found = f"{wish}_{number}"
        self.taken.add(found)
        return found


def free_our_names(graph: Graph) -> dict[str, str]:
    """Rename every tensor and node that has a name which edgerkd gives: old names mapped to new ones."""
    names = Names(graph)
    new = {name: names.fresh(f"user_{name}") for name in sorted(names.taken) if _is_ours(name)}
    rename(graph, new)
    for node in graph.node:
        node.name = new.get(node.name, node.name)
    return new


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(_PREFIXES)


def rename(graph: Graph, new: dict[str, str]) -> None:
    """Give tensors other names wherever they stand."""
    if not new:
        return
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in new:
                    names[index] = new[name]
