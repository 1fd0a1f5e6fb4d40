"""When a track of a longer file begins and ends, by the cells of its row."""

import pytest

from jointembed.index.track import media_fragment, track_times


@pytest.mark.parametrize("start, seconds", [(61.5, 60), ("61.5", "60"), (61.5, " 60.0 ")])
def test_times_of_a_track_may_be_numbers_or_text(start, seconds):
    row = {"start": start, "seconds": seconds}
    assert track_times(row) == (61.5, 121.5) and media_fragment(row) == "#t=61.500,121.500"


@pytest.mark.parametrize("start", [None, "", "01:01:30", True, -1, "nan", float("inf"), [61.5], 10**400])
def test_any_other_cell_is_no_time(start):
    assert (
        track_times({"start": start, "seconds": 60}) is None and media_fragment({"start": start, "seconds": 60}) == ""
    )
