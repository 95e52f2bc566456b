"""Parser of the grammar that DOT and DAGitty text share: `kind name { nodes, edges, [attributes] }`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from intaglio.errors import BadInput

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)
      | (?P<text>"(?:\\.|[^"\\])*")
      | (?P<html><(?=[^-@]))
      | (?P<edge>@-@|@->|<-@|@--|--@|<->|->|<-|--)
      | (?P<sign>[{}\[\];,=:+])
      | (?P<word>(?:[^\W\d]|_)[\w.]*|-?(?:\.\d+|\d+(?:\.\d*)?)\w*)""",
    re.VERBOSE | re.DOTALL,
)
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*|\d+", re.ASCII)
"""Names that need no quotes."""
KEYWORDS = {"graph", "digraph", "node", "edge", "subgraph", "strict"}
MOST_EDGES = 1_000_000
"""Most edges that are read; groups may stand for many more than they have letters."""
DEEPEST = 32
"""Deepest nesting of groups that is read; deeper ones overrun the stack."""


@dataclass
class ParsedText:
    """The content of a text: its type, graph attributes, names in order of mention, and edges."""

    type: str
    attributes: dict[str, str] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    """The names, as keys."""
    edges: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    """(first, sign, second, attributes)."""


def quote(name: str) -> str:
    """A name as it is written in a text, in quotes where needed."""
    if PLAIN.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parsed(text: str, language: str) -> ParsedText:
    """Parses a text; `language` names it in an error.

    Chains (`a -> b -> c`), groups (`{a b} -> c`, also named subgraphs) and defaults (`edge [dir=none]`) are understood;
    ports (`a:n`) are skipped, and labels in HTML are kept as they are.

    Raises:
        BadInput: a syntax error, with the text near it.
    """
    return _Reader(text, language).whole()


class _Reader:
    """A recursive descent parser over the tokens."""

    def __init__(self, text: str, language: str):
        self.language, self.tokens, self.at = language, list(_tokens(text, language)), 0
        self.found, self.usual, self.depth = ParsedText(""), {}, 0

    def whole(self) -> ParsedText:
        while (word := self.take()).lower() == "strict":
            pass
        self.found.type = word.lower()
        while self.peek() != "{":
            self.take()
        self.group()
        if self.peek():
            self.refuse("the closing brace")
        return self.found

    def group(self) -> list[str]:
        """Parses statements in braces; returns the names that they mention."""
        self.expect("{")
        self.depth += 1
        if self.depth > DEEPEST:
            raise BadInput(
                f"this {self.language} text cannot be read: its groups nest deeper than {DEEPEST}; take braces out"
            )
        inside: list[str] = []
        while self.peek() != "}":
            if self.peek() in (";", ","):
                self.take()
            else:
                inside += self.statement()
        self.expect("}")
        self.depth -= 1
        return list(dict.fromkeys(inside))

    def statement(self) -> list[str]:
        word = self.peek()
        if word.lower() in ("graph", "node", "edge") and self.peek(1) == "[":
            self.take()
            into = {"graph": self.found.attributes, "edge": self.usual}.get(word.lower(), {})
            into.update(self.attributes())
            return []
        if self.peek(1) == "=":
            key, _ = self.take(), self.take()
            self.found.attributes[_bare(key)] = self.value()
            return []
        return self.chain()

    def chain(self) -> list[str]:
        ends, signs = [self.term()], []
        while self.peek() in SIGNS:
            signs.append(self.take())
            ends.append(self.term())
        attributes = dict(self.usual)
        while self.peek() == "[":
            attributes |= self.attributes()
        for left, sign, right in zip(ends, signs, ends[1:], strict=False):
            if len(self.found.edges) + len(left) * len(right) > MOST_EDGES:
                raise BadInput(f"this {self.language} text has more than {MOST_EDGES:,} edges; leave some out")
            self.found.edges += [(a, sign, b, attributes) for a in left for b in right]
        return [name for end in ends for name in end]

    def term(self) -> list[str]:
        """Parses one name or a group of names."""
        if self.peek().lower() == "subgraph":
            self.take()
            if self.peek() != "{":
                self.take()
        if self.peek() == "{":
            return self.group()
        if self.peek() in PUNCTUATION or self.peek() in SIGNS:
            self.refuse("a name")
        if self.peek().startswith("<"):
            raise BadInput(
                f"this {self.language} text has the name {self.peek()[:40]} in HTML; give a plain name, and this "
                "as its label"
            )
        name = self.value()
        while self.peek() == ":":  # a port: where at the node an edge is drawn
            self.take()
            if self.peek() in PUNCTUATION or self.peek() in SIGNS:
                self.refuse("a port")
            self.take()
        self.found.names.setdefault(name)
        return [name]

    def value(self) -> str:
        """Parses one word, or texts that are joined by +."""
        text = _bare(self.take())
        while self.peek() == "+":
            self.take()
            text += _bare(self.take())
        return text

    def attributes(self) -> dict[str, str]:
        self.expect("[")
        found = {}
        while self.peek() != "]":
            key = _bare(self.take())
            if self.peek() == "=":
                self.take()
                found[key] = self.value()
            if self.peek() in (",", ";"):
                self.take()
        self.expect("]")
        return found

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self) -> str:
        if not (token := self.peek()):
            self.refuse("more")
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            self.refuse(repr(token))
        self.at += 1

    def refuse(self, wanted: str) -> None:
        near = " ".join(self.tokens[max(0, self.at - 3) : self.at + 2])
        raise BadInput(f"this {self.language} text cannot be read: {wanted} was expected near {near!r}; check it there")


PUNCTUATION = ("", *"}[]=:+;,")
SIGNS = ("->", "<-", "--", "<->", "@-@", "@->", "<-@", "@--", "--@")


def _bare(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token


def _tokens(text: str, language: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        line = text.count("\n", 0, at) + 1 if match is None else 0
        if match is None and text[at] == '"':
            raise BadInput(f"this {language} text cannot be read: the quote in line {line} is never closed; close it")
        if match is None:
            raise BadInput(
                f"this {language} text cannot be read: line {line} has {text[at]!r}; put names that hold it in quotes"
            )
        end = match.end()
        if match.lastgroup == "html":
            end = _html_end(text, at, language)
        if match.lastgroup != "space":
            yield text[at:end]
        at = end


def _html_end(text: str, at: int, language: str) -> int:
    """The end of a string in HTML, which is in angle brackets and has balanced ones inside."""
    depth = 0
    for found in re.compile("[<>]").finditer(text, at):
        depth += 1 if found[0] == "<" else -1
        if not depth:
            return found.end()
    line = text.count("\n", 0, at) + 1
    raise BadInput(f"this {language} text cannot be read: the < in line {line} is never closed; close it by >")


def block(head: str, lines: Sequence[str]) -> str:
    """A text of a head and one statement per line."""
    return "\n".join([f"{head} {{", *(f"  {line}" for line in lines), "}", ""])
