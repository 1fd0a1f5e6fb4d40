"""Numbers in buckets, and crosses of columns."""

import pytest

from jointembed import EmbeddingBag, HashedCross, JointEmbedding, Quantiles, Regression, Space
from jointembed.errors import UsageError


def test_bins_hold_equally_many_rows_in_each_column():
    reader = Quantiles(["rooms", "year"], bins=4)
    rows = [{"rooms": number % 8, "year": 1900 + number} for number in range(80)]
    reader.fit(rows)
    assert [len(edges) for edges in reader.edges] == [3, 3] and reader.size == 8
    counts = [0] * 8
    for row in rows:
        first, second = reader.token_ids(row)
        assert first < 4 <= second
        counts[first] += 1
        counts[second] += 1
    assert counts == [20] * 8


def test_missing_numbers_have_no_bin_and_words_are_refused():
    reader = Quantiles(["rooms", "year"], bins=4)
    reader.fit([{"rooms": 1, "year": 1900}, {"rooms": 2}, {"rooms": "", "year": "1950"}])
    assert len(reader.token_ids({"rooms": 1})) == 1
    assert reader.token_ids({"other": 1}) == [reader.size]
    assert reader.encode([None, {"year": 1900}]).present.tolist() == [False, True]
    with pytest.raises(UsageError, match="'many' is not a number"):
        reader.token_ids({"rooms": "many"})


def test_equal_numbers_share_a_bin():
    reader = Quantiles(bins=10)
    reader.fit([0] * 99 + [1])
    assert reader.size <= 3 and reader.token_ids(0) != reader.token_ids(2)


def test_cross_separates_combinations_of_columns():
    reader = HashedCross(["latitude", "longitude"], bins=4, buckets=10_000)
    reader.fit([{"latitude": n % 10, "longitude": n // 10} for n in range(100)])
    corners = {(x, y): reader.token_ids({"latitude": x, "longitude": y})[0] for x in (0, 9) for y in (0, 9)}
    assert len(set(corners.values())) == 4
    assert reader.token_ids({"latitude": 0, "longitude": 1}) == [corners[0, 0]]
    assert reader.token_ids({"latitude": 0}) == [10_000]
    again = HashedCross(["latitude", "longitude"], bins=4, buckets=10_000)
    again.restore(reader.state())
    assert again.token_ids({"latitude": 9, "longitude": 0}) == [corners[9, 0]]
    with pytest.raises(UsageError, match="two columns"):
        HashedCross(["latitude"])


def test_readers_survive_their_state(tmp_path):
    encoders = {
        "facts": EmbeddingBag(Quantiles(["rooms"], bins=3)),
        "place": EmbeddingBag(HashedCross(["x", "street"], bins=3, buckets=50)),
    }
    model = JointEmbedding(4, encoders, [Regression("home", "price")], fusions={"home": ["facts", "place"]})
    space = model.space
    rows = [{"rooms": n, "x": n, "street": "ab"[n % 2], "price": float(n)} for n in range(20)]
    for reader, columns in model.readers():
        reader.fit([row[columns[0]] if not reader.columns else row for row in rows])
    model.configure_model()
    before = space.embed("home", rows)
    model.save(tmp_path / "home.ckpt")
    assert (Space.load(tmp_path / "home.ckpt").embed("home", rows) == before).all()
