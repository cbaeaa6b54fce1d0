"""Names of tensors in a graph: renamed, and freed where edgerkd needs them."""

from edgerkd.graphs.values import Graph

_OURS = ("images", "logits", "cotangent", "gradient")
_PREFIXES = ("grad_", "edgerkd_")


def free_our_names(graph: Graph) -> dict[str, str]:
    """Rename every tensor that has a name which edgerkd gives: old names mapped to new ones. Nodes are renamed too."""
    named = {node.name for node in graph.node}
    for node in graph.node:
        if _is_ours(node.name):
            node.name = _fresh(node.name, named)
    every = {value.name for value in (*graph.input, *graph.initializer)}
    every |= {name for node in graph.node for name in (*node.input, *node.output)}
    new = {name: _fresh(name, every) for name in sorted(every) if _is_ours(name)}
    rename(graph, new)
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


def _fresh(name: str, taken: set[str]) -> str:
    number, found = 0, f"user_{name}"
    while found in taken:
        number += 1
        found = f"user{number}_{name}"
    return found
