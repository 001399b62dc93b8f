"""Token codes and late interaction, with vectors that can be worked out by hand and with the real codebook."""

import numpy as np
import pytest

from assistant.retrieval import late
from ingest.models.token_codes import WIDTH, fit_codebook, shipped_codebook, unit


def test_codes_keep_what_matters_of_a_token() -> None:
    tokens = np.random.default_rng(0).normal(size=(3000, 384)).astype(np.float32)
    tokens[:, 40:] *= 0.02  # like a model's, most of it in few directions
    book = fit_codebook(tokens, tokens)
    codes = book.encode(tokens[:200])
    assert codes.shape == (200, WIDTH) and codes.dtype == np.uint8
    kept = unit(book.decode(codes))
    assert float((kept * unit(tokens[:200] - tokens.mean(axis=0))).sum(axis=1).mean()) > 0.7
    assert len(book.encode(tokens[:0])) == 0


def test_the_passage_with_the_questions_tokens_matches_best() -> None:
    book = shipped_codebook()
    tokens = np.random.default_rng(1).normal(size=(60, 384)).astype(np.float32)
    codes = {1: book.encode(tokens[:20]).tobytes(), 2: book.encode(tokens[20:60]).tobytes()}
    asked = unit(book.decode(book.encode(tokens[20:24])))
    columns = late.columns(asked, late.PassageTokens.of(codes, [1, 2, 3]))
    assert set(columns) == set(late.COLUMNS)
    for column in columns.values():
        assert column[1] > column[0] and column[0] <= column[2] <= column[1]  # one without codes stands in the middle
    assert columns["late"][1] == pytest.approx(
        float((asked * book.decode(book.encode(tokens[20:24]))).sum(axis=1).mean()), abs=1e-5
    )


def test_without_tokens_nothing_counts() -> None:
    assert late.columns(np.zeros((0, 384), np.float32), late.PassageTokens.of({1: bytes(WIDTH)}, [1]))["late"].tolist() == [0.0]
    assert late.columns(np.ones((2, 384), np.float32), late.PassageTokens.of({}, [1, 2]))["focus"].tolist() == [0.0, 0.0]


def test_a_window_is_scored_alone() -> None:
    similar = np.zeros((100, 1), dtype=np.float32)
    similar[70:90] = 1.0
    windows = late._windows(similar, np.array([0, 60]), np.array([60, 40]))
    assert windows.tolist() == [0.0, 1.0]
    similar[:] = 0.0
    similar[99] = 1.0  # the last token counts too
    assert late._windows(similar, np.array([0, 60]), np.array([60, 40])).tolist() == [0.0, 1.0]
    assert late._windows(similar[99:], np.array([0]), np.array([1])).tolist() == [1.0]
