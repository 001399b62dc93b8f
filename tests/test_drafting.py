"""Drafts: found by what stood before, as long as the match and the last draft allow, and never found at the very end."""

from assistant.engine.drafting import LONGEST, PromptLookup

LINE = list(range(100, 140))


def test_nothing_is_foretold_of_a_text_that_is_new() -> None:
    assert PromptLookup(LINE).draft() == []
    assert PromptLookup([]).draft() == []
    assert PromptLookup([7] * 4).draft() == []  # four tokens stood nowhere before themselves


def test_a_short_match_foretells_little_and_a_long_one_much() -> None:
    lookup = PromptLookup([*LINE, 0, *LINE[:4]])
    assert lookup.draft() == LINE[4:9]
    lookup.add(LINE[4])
    lookup.add(LINE[5])
    assert lookup.draft() == LINE[6 : 6 + LONGEST]
    assert lookup.draft(3) == LINE[6:9]


def test_a_draft_that_held_makes_the_next_one_longer() -> None:
    lookup = PromptLookup([*LINE, 0, *LINE[:4]])
    lookup.checked(lookup.draft(), 5)
    assert lookup.draft() == LINE[4:14]
    lookup.checked(lookup.draft(), 9)
    assert lookup.draft() == LINE[4:9]


def test_the_last_place_counts() -> None:
    assert PromptLookup([1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 6, 0, 1, 2, 3, 4]).draft(1) == [6]
