"""Names for what is added to a graph."""

from edgerkd.graphs.values import Model


class Names:
    """The names that the nodes and tensors of a graph have: runtimes refuse a second node, or tensor, of one name.

    A name is given once for both, so that a node can be called what its output is.
    """

    def __init__(self, model: Model) -> None:
        graph = model.graph
        self._taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
        for node in graph.node:
            self._taken |= {node.name, *node.input, *node.output}

    def fresh(self, wish: str) -> str:
        """A name that nothing has: the one wished for, with a number behind it where that is taken."""
        found, number = wish, 1
        while found in self._taken:
            number += 1
            found = f"{wish}_{number}"
        self._taken.add(found)
        return found
