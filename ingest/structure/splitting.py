"""Cleaned text -> headings, question-answer pairs and passages, all as exact spans of the text.

A passage follows the structure first: a question with its short answer, a section, a list; then the length: about ``TARGET``
tokens, so that with its headings it stays below the 512 tokens the embedding model reads. Formulas, code blocks and table rows are
cut only when one of them alone is too long.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from ingest.document import Document, Heading, ParsedDocument, Passage, QuestionAnswer, fold
from ingest.structure.outline import Outline, answer_start, is_trailing, outline
from ingest.structure.tables import table_pairs

TARGET = 180
"""Tokens a passage should have."""
WHOLE = 300
"""A question stays in one passage with its answer up to this many tokens."""
LIMIT = 430
"""Tokens of a passage together with the two headings it is embedded with; the estimate errs by less than a sixth."""
TINY = 45
"""Fewer tokens than this do not make a passage when there is a neighbour to join."""
_TITLE = 150  # characters of a heading that are kept in the path of a passage

_FORMULA = re.compile(
    r"\$\$.{1,2000}?\$\$|\\\[.{1,2000}?\\\]|\\begin\{([A-Za-z]{1,20}\*?)\}.{1,2000}?\\end\{\1\}|\$[^$\n]{1,300}\$|\\\(.{1,300}?\\\)|`[^`\n]{1,200}`",
    re.DOTALL,
)
_SENTENCE = re.compile(r"[。！？!?；;\n]+[”’\"'）)」』】]*|\.(?=\s)")
_CLAUSE = re.compile(r"[，,、：:\s）)】|]")


def split(document: Document) -> ParsedDocument:
    """Find the structure of a document. Linear in the length of its text, whatever the text is."""
    found = outline(document.text, document.markup)
    tree = _Tree(found)
    headings = tuple(
        Heading(node.start, node.title_end if node.inline_answer else node.end, node.level, tree.title(n))
        for n, node in enumerate(found.nodes)
    )
    return ParsedDocument(document, headings, tuple(tree.passages(document)), tuple(sorted(tree.pairs(document.name), key=_place)))


def _place(pair: QuestionAnswer) -> int:
    return pair.question_start


def title_of(text: str, markup: str, name: str, metadata: Sequence[tuple[str, str]] = ()) -> str:
    """The title of a document: front matter, else its first heading when that opens the page, else the file's name."""
    for key, value in metadata:
        if key.lower() == "title" and value:
            return value
    first = text[:2000].lstrip()
    nodes = outline(first, markup).nodes
    if nodes and nodes[0].line == 0 and not nodes[0].question:
        title = first[nodes[0].title_start : nodes[0].title_end].strip(" 《》")
        if title:
            return title
    return PurePosixPath(name).stem


# --- tokens ---------------------------------------------------------------------------------------------------------


def token_costs(text: str) -> npt.NDArray[np.int64]:
    """Estimated tokens of the embedding model in tenths, summed from the start: shape (len + 1,).

    ``costs[b] - costs[a]`` is the cost of a span. Fitted on notes in both languages against the model's own tokenizer: a Chinese
    character 0.7, a Latin letter 0.2, a digit 0.6, a space 0.3, anything else 1.4.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    costs = np.full(len(codes), 14, dtype=np.int64)
    costs[(codes >= 0x3400) & (codes <= 0x9FFF)] = 7
    lower = codes | 0x20
    costs[(lower >= 0x61) & (lower <= 0x7A)] = 2
    costs[(codes >= 0x30) & (codes <= 0x39)] = 6
    costs[(codes == 0x20) | (codes == 0x0A) | (codes == 0x09) | (codes == 0x3000) | (codes == 0xA0)] = 3
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(costs)])


def estimate_tokens(text: str) -> float:
    """Estimated tokens of a text, from its characters alone."""
    return float(token_costs(text)[-1]) / 10


# --- the tree -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Piece:
    """A passage in the making. ``full_start`` is where it starts when its own heading has to stand in the text."""

    start: int
    end: int
    full_start: int
    path: tuple[str, ...]
    solid: bool = False


class _Tree:
    """An outline with its costs; yields pairs and passages."""

    def __init__(self, found: Outline) -> None:
        self.text, self.lines, self.nodes = found.text, found.lines, found.nodes
        self.costs = token_costs(self.text)
        self.children: list[list[int]] = [[] for _ in self.nodes]
        self.roots: list[int] = []
        self.ends = [len(self.lines)] * len(self.nodes)  # line index behind the last line of each node
        self.parents: list[int] = []
        open_: list[int] = []
        for n, node in enumerate(self.nodes):
            while open_ and self.nodes[open_[-1]].level >= node.level:
                self.ends[open_.pop()] = node.line
            self.parents.append(open_[-1] if open_ else -1)
            (self.children[open_[-1]] if open_ else self.roots).append(n)
            open_.append(n)
        self.answers = [self._answer(n) for n in range(len(self.nodes))]

    def title(self, n: int) -> str:
        return self.text[self.nodes[n].title_start : self.nodes[n].title_end].strip()

    def path(self, n: int) -> tuple[str, ...]:
        """The titles above a node, outermost first."""
        titles: list[str] = []
        while (n := self.parents[n]) >= 0:
            titles.append(self.title(n)[:_TITLE])
        return tuple(reversed([title for title in titles if title]))

    # --- pairs ---

    def _answer(self, n: int) -> tuple[int, int] | None:
        """The span that answers node ``n``: None when it is no question, or only the title of questions below it."""
        node = self.nodes[n]
        if not node.question or node.title_end <= node.title_start:
            return None
        end = self._own_end(n)
        first, start = answer_start(self.lines, node.body, end)
        last_of_all = end == len(self.lines)
        while end > first and is_trailing(self.lines[end - 1], last_of_all):
            end -= 1
        if first < end:
            last = self.lines[end - 1]
            return node.inline_answer or start, last.start + len(last.text.rstrip())
        if node.inline_answer:
            return node.inline_answer, node.inline_answer + len(self.text[node.inline_answer : node.end].rstrip())
        if self.children[n]:
            return None
        return node.title_end, node.title_end

    def _own_end(self, n: int) -> int:
        """The line behind the last one of a node that belongs to no question nested in it."""
        node, end = self.nodes[n], self.ends[n]
        for m in range(n + 1, len(self.nodes)):
            if self.nodes[m].line >= end:
                break
            if self.nodes[m].question:
                end = self.nodes[m].line
                while m > n + 1 and self.nodes[m - 1].body == end:
                    m, end = m - 1, self.nodes[m - 1].line  # the titles right above the nested question are its own
                break
        return max(end, node.body)

    def pairs(self, document: str) -> Iterator[QuestionAnswer]:
        """The question-answer pairs in reading order; an open question that is answered elsewhere in the text is left out."""
        answered = {fold(self.title(n)) for n, span in enumerate(self.answers) if span and span[1] > span[0]}
        seen: set[str] = set()
        for n, span in enumerate(self.answers):
            if span is None:
                continue
            node, (start, end) = self.nodes[n], span
            key = fold(self.title(n))
            if start == end and (key in answered or key in seen):
                continue
            seen.add(key)
            question = self.text[node.title_start : node.title_end]
            yield QuestionAnswer(
                document, question, node.title_start, node.title_end, self.text[start:end], start, end, self.path(n)
            )
        yield from self._table_pairs(document, seen)

    def _table_pairs(self, document: str, seen: set[str]) -> Iterator[QuestionAnswer]:
        lines = [node.start for node in self.nodes]
        for (asked, asked_end), (start, end) in table_pairs(self.text, self.lines):
            question = self.text[asked:asked_end]
            if (key := fold(question)) in seen:
                continue
            seen.add(key)
            above = bisect_right(lines, asked) - 1
            path = (*self.path(above), self.title(above)[:_TITLE]) if above >= 0 else ()
            yield QuestionAnswer(document, question, asked, asked_end, self.text[start:end], start, end, path)

    # --- passages ---

    def passages(self, document: Document) -> Iterator[Passage]:
        """The passages in reading order."""
        first = self.nodes[0].line if self.nodes else len(self.lines)
        pieces = self._pieces(0, first, -1, ())
        for root in self.roots:
            pieces += self._pack(root, ())
        newlines = [0, *(match.end() for match in re.finditer("\n", self.text))]
        for piece in self._merged(pieces, -1, ()):
            start, end = self._trimmed(piece.start, piece.end)
            if start < end:
                line, page = bisect_right(newlines, start), document.page_at(start)
                yield Passage(document.name, start, end, self.text[start:end], piece.path, line, page=page)

    def _pack(self, n: int, path: tuple[str, ...]) -> list[_Piece]:
        """The pieces of one node; ``path`` is that of its parent."""
        node, end = self.nodes[n], self.ends[n]
        title = self.title(n)[:_TITLE]
        inside = (*path, title) if title else path
        children = self.children[n]
        own_end = self.nodes[children[0]].line if children else end
        last = self.lines[end - 1]
        stop = last.start + len(last.text.rstrip())
        span = self.answers[n]
        answered = span is not None and span[1] > span[0]
        nested = any(self._answered(child) for child in children)
        if not nested:
            cost = self._cost(node.title_start, stop)
            if answered and cost <= min(WHOLE, self._budget(self.parents[n])):
                return [_Piece(node.title_start, stop, node.title_start, path, solid=True)]
            if not answered and children and cost <= TARGET:
                body = self.lines[node.body].start if node.body < end else node.title_start
                return [_Piece(body, stop, node.title_start, inside)]
        if node.question and not (children and not answered):
            pieces = self._pieces(node.title_line, own_end, n, inside, start=node.title_start)
        elif node.body >= end:
            return [_Piece(node.title_start, max(node.title_end, stop), node.title_start, path)]
        else:
            pieces = self._pieces(node.body, own_end, n, inside)
        whole = len(pieces) == 1 and not children
        for child in children:
            pieces += self._pack(child, inside)
        pieces = self._merged(pieces, n, inside)
        if whole:
            pieces[0].full_start = node.title_start
        if answered:
            for piece in pieces:
                piece.solid = True
        return pieces

    def _answered(self, n: int) -> bool:
        span = self.answers[n]
        return (span is not None and span[1] > span[0]) or any(self._answered(child) for child in self.children[n])

    def _merged(self, pieces: list[_Piece], owner: int, path: tuple[str, ...]) -> list[_Piece]:
        """Join tiny pieces with a neighbour of the same section: that of node ``owner``, whose own path is ``path``."""
        merged: list[_Piece] = []
        most = min(TARGET * 1.25, self._budget(owner))
        for piece in pieces:
            if merged and not piece.solid and not merged[-1].solid:
                above = merged[-1]
                small = min(self._cost(above.full_start, above.end), self._cost(piece.full_start, piece.end)) < TINY
                if small and self._cost(above.full_start, piece.end) <= most:
                    same = above.path == piece.path and piece.start == piece.full_start
                    start = above.start if above.path == path else above.full_start
                    merged[-1] = _Piece(start, piece.end, above.full_start, piece.path if same else path)
                    continue
            merged.append(piece)
        return merged

    def _pieces(self, first: int, end: int, owner: int, path: tuple[str, ...], start: int | None = None) -> list[_Piece]:
        """Cut the lines [first, end) of node ``owner`` into pieces of about TARGET tokens that respect blocks and sentences."""
        if first >= end:
            return []
        budget = self._budget(owner)
        atoms: list[tuple[int, int]] = []
        for begin, stop in self._blocks(first, end):
            begin = max(begin, start) if start is not None else begin
            fits = self._cost(begin, stop) <= budget
            atoms += [(begin, stop)] if fits else self._cut(begin, stop, budget, by_lines=self.text.find("\n", begin, stop) >= 0)
        total = self._cost(atoms[0][0], atoms[-1][1])
        goal = total / max(1, round(total / TARGET))
        groups: list[list[tuple[int, int]]] = [[]]
        for atom in atoms:
            group = groups[-1]
            if group:
                cost, grown = self._cost(group[0][0], group[-1][1]), self._cost(group[0][0], atom[1])
                if grown > budget or (grown > goal and grown - goal > goal - cost):
                    lead = [group.pop()] if len(group) > 1 and self.text[group[-1][0] : group[-1][1]].rstrip()[-1:] in ":：" else []
                    if lead and self._cost(lead[0][0], atom[1]) > budget:
                        group += lead
                        lead = []
                    groups.append(group := lead)
            group.append(atom)
        return [_Piece(group[0][0], group[-1][1], group[0][0], path) for group in groups]

    def _blocks(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Spans that belong together: a line, or all lines of a code block or formula."""
        n = first
        while n < end:
            m = n + 1
            while m < end and self.lines[n].block and self.lines[m].block == self.lines[n].block:
                m += 1
            yield self.lines[n].start + self.lines[n].indent, self.lines[m - 1].end
            n = m

    def _cut(self, start: int, end: int, budget: float, *, by_lines: bool) -> Iterator[tuple[int, int]]:
        """Cut a span that is too long: behind a sentence, else behind a clause, else anywhere; not inside a formula if it fits.

        ``by_lines``: a block of lines (code, a formula) is cut behind a line where one ends in time.
        """
        formulas = [match.span() for match in _FORMULA.finditer(self.text, start, end)]
        starts = [span[0] for span in formulas]
        goal = min(budget, TARGET * 1.2)
        while self._cost(start, end) > budget:
            high = self._within(start, goal)
            low = max(self._within(start, goal / 2), start + 1)
            line = self.text.rfind("\n", start + 1, high) + 1 if by_lines else 0
            cut = line or self._boundary(low, high)
            inside = bisect_left(starts, cut) - 1
            if inside >= 0 and formulas[inside][0] < cut < formulas[inside][1]:
                before, behind = formulas[inside]
                if before > start and self.text[start:before].strip():
                    cut = before
                elif self._cost(start, behind) <= budget:
                    cut = behind
            yield start, cut
            start = cut
        if start < end:
            yield start, end

    def _within(self, start: int, tokens: float) -> int:
        """The furthest end that keeps a span from ``start`` within so many tokens, but at least one character."""
        limit = int(self.costs[start] + tokens * 10)
        return max(int(np.searchsorted(self.costs, limit, side="right")) - 1, start + 1)

    def _boundary(self, low: int, high: int) -> int:
        for pattern in (_SENTENCE, _CLAUSE):
            ends = [match.end() for match in pattern.finditer(self.text, low, high)]
            if ends:
                return ends[-1]
        return high

    def _budget(self, owner: int) -> float:
        """Tokens left for a passage below node ``owner`` (-1: below none) beside the two headings it is embedded with."""
        heads = 0.0
        for n in (owner, self.parents[owner] if owner >= 0 else -1):
            if n >= 0:
                node = self.nodes[n]
                heads += self._cost(node.title_start, min(node.title_end, node.title_start + _TITLE)) + 1
        return LIMIT - heads

    def _cost(self, start: int, end: int) -> float:
        return float(self.costs[end] - self.costs[start]) / 10

    def _trimmed(self, start: int, end: int) -> tuple[int, int]:
        part = self.text[start:end]
        return start + len(part) - len(part.lstrip()), start + len(part.rstrip())
