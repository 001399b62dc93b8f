"""Foretelling what the model will write: answers from notes copy much of them (prompt lookup decoding, Saxena 2023).

Where the last few tokens stood before, what followed them there is a draft, and the model checks a whole draft in one call. On two
cores a call for 16 tokens costs as much as one for 6.5 single tokens, so drafts are long only where the match is long or the last
draft held. Replayed over eleven answers with the measured times of calls: 1.5 times as fast in all, 2.2 on answers that stand in a
note, .8 to 1.3 on free ones; matches of 2 and 3 tokens, or longer drafts at once, gave less.
"""

from collections.abc import Sequence

LONGEST = 15
_DRAFTS = ((6, LONGEST), (4, 5))  # (tokens that match, tokens foretold then)


class PromptLookup:
    """Drafts over a text that grows.

    >>> lookup = PromptLookup([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4])
    >>> lookup.draft()
    [5, 6, 7, 8, 1]
    >>> lookup.draft(most=2)
    [5, 6]
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}  # the last few tokens -> the position behind where they stood last
        self._held = 0  # length of the last draft when all of it held
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """The text has a further token."""
        for length, _ in _DRAFTS:
            if len(self._tokens) >= length:  # only now: the end of the text must not find itself
                self._behind[tuple(self._tokens[-length:])] = len(self._tokens)
        self._tokens.append(token)

    def draft(self, most: int = LONGEST) -> list[int]:
        """What may follow, at most ``most`` tokens; [] where nothing like the end of the text stood before."""
        for length, foretold in _DRAFTS:
            behind = self._behind.get(tuple(self._tokens[-length:]))
            if behind is not None:
                count = min(most, LONGEST, max(foretold, 2 * self._held))
                return self._tokens[behind : behind + count]
        return []

    def checked(self, draft: Sequence[int], held: int) -> None:
        """So many tokens of the last draft were what the model wrote."""
        self._held = held if held == len(draft) else 0
