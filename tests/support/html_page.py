"""An HTML page as the tests look at it: a tree, its text, its tables."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Element:
    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.content = []

    def __iter__(self):
        """All elements within, in the order of the page."""
        for child in self.content:
            if isinstance(child, Element):
                yield child
                yield from child

    def all(self, *tags):
        return [element for element in self if element.tag in tags]

    @property
    def text(self):
        texts = [c.text if isinstance(c, Element) else c for c in self.content]
        return " ".join("".join(texts).split())


class Page(HTMLParser):
    """Refuses tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.root = self.at = Element("page", {}, None)
        self.feed(text)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is not closed"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        element = Element(tag, dict(attributes), self.at)
        self.at.content.append(element)
        if tag not in VOID:
            self.at = element

    def handle_startendtag(self, tag, attributes):
        self.at.content.append(Element(tag, dict(attributes), self.at))

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> where <{self.at.tag}> is open"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.content.append(data)

    def all(self, *tags):
        return self.root.all(*tags)

    def table(self, caption):
        """The rows of a table by its caption, or the caption's beginning: heading to cells."""
        [table] = [t for t in self.all("table") if t.all("caption")[0].text.startswith(caption)]
        rows = [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]
        return rows[0], {heading: cells for heading, *cells in rows[1:]}
