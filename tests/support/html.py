"""
HTML as tests read it: a tree, and what is wrong with its tags.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


@dataclass(slots=True)
class Element:
    """
    An element of a page.
    """

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Element | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        """
        All text in it, with single spaces.
        """
        parts = (one if isinstance(one, str) else one.text for one in self.children)
        return " ".join(" ".join(parts).split())

    def __iter__(self) -> Iterator["Element"]:
        for one in self.children:
            if isinstance(one, Element):
                yield one
                yield from one

    def all(self, name: str, **attributes: str) -> "list[Element]":
        """
        The elements of this name in it that have these attributes; `class_` needs one of the classes.
        """
        return [one for one in self if one.name == name and one._has(attributes)]

    def one(self, name: str, **attributes: str) -> "Element":
        """
        The only such element.
        """
        (found,) = self.all(name, **attributes)
        return found

    def _has(self, attributes: dict[str, str]) -> bool:
        return all(
            value in self.attributes.get("class", "").split()
            if key == "class_"
            else self.attributes.get(key.rstrip("_").replace("_", "-")) == value
            for key, value in attributes.items()
        )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute is twice: {attrs}"
        found = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(found)
        if tag not in VOID:
            self.open.append(found)

    def handle_endtag(self, tag: str) -> None:
        ended = self.open.pop()
        assert ended.name == tag, f"<{ended.name}> is ended by </{tag}>"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(html: str) -> Element:
    """
    The page as a tree. Every tag must be ended in order, and no id may come twice.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == [reader.root], f"<{reader.open[-1].name}> is never ended"
    ids = [one.attributes["id"] for one in reader.root if "id" in one.attributes]
    assert len(set(ids)) == len(ids), f"an id is twice: {sorted(ids)}"
    return reader.root
