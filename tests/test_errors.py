"""The paragraph of an error."""

from __future__ import annotations

from rlossctl.errors import LONGEST, RlossError, shortened


def test_what_is_endless_is_cut_in_the_paragraph_and_whole_in_the_error():
    long = "x" * 1_000_000
    error = RlossError(long, where=long, found=long, expected=long, advice=long)
    assert len(str(error)) < 6 * LONGEST and str(error).count("(1,000,000 characters)") == 5
    assert error.found == long


def test_what_is_not_endless_is_whole():
    assert shortened("x" * LONGEST) == "x" * LONGEST
    assert shortened("abcdefghijkl", 8) == "abcd ... (12 characters) ... kl"
