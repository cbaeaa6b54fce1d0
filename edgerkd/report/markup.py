"""HTML in which text is escaped unless it was built here."""

from html import escape


class Markup(str):
    """Finished HTML. Any other string is text, and is escaped where it is put in."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element. `class_` gives class, `aria_label` aria-label; an attribute that is None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = join(*children)
    return Markup(f"<{name}{written}>{inner}</{name}>")


def join(*children: str) -> Markup:
    """Several pieces one after the other, each escaped unless it is Markup."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))
