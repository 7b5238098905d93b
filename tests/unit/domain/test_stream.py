"""Frames and checkpoints: nothing is lost, nothing is told twice, every frame fits."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.domain.stream import (
    FLOOR_MAX_MS,
    MAX_DELTA_BYTES,
    MAX_FRAME_BYTES,
    Checkpoint,
    Delta,
    Place,
    all_deltas,
    durable_text,
    floor_ms,
    next_delta,
    resume_at,
    taken_over,
)
from chatcore.protocol.websocket import RunDelta, encode

# Heavy ones often: escapes of six bytes, characters of four, and what is escaped to two.
characters = st.sampled_from('a\x00\x1f\n"\\é漢😀\u2028\x7f')
texts = st.text(alphabet=characters, max_size=60)
long_texts = st.builds(
    lambda piece, times: piece * times,
    st.text(alphabet=characters, min_size=1, max_size=9),
    st.integers(1, 9_000),
)


class TestFloor:
    def test_the_first_frames_wait_for_nothing(self) -> None:
        assert floor_ms(0) == floor_ms(1) == 0

    def test_then_it_ramps_up_and_stays(self) -> None:
        floors = [floor_ms(sent) for sent in range(40)]
        assert floors == sorted(floors)
        assert floors[2] > 0
        assert floors[-1] == FLOOR_MAX_MS


class TestDeltas:
    def test_somebody_who_has_all_gets_none(self) -> None:
        assert next_delta("text", 4) is None
        assert next_delta("", 0) is None
        assert next_delta("text", 9) is None

    def test_a_short_rest_goes_in_one(self) -> None:
        assert next_delta("a😀b", 1) == Delta(1, "😀b")

    @given(long_texts, st.integers(0, 50))
    def test_all_of_them_join_to_the_rest_and_each_fits_a_frame(
        self, text: str, offset: int
    ) -> None:
        deltas = all_deltas(text, offset)
        assert "".join(delta.text for delta in deltas) == text[offset:]
        place = offset
        for delta in deltas:
            assert delta.offset == place
            assert delta.text
            place = delta.end
            frame = encode(
                RunDelta(run_id="r_" + "x" * 26, epoch=10**6, offset=10**7, text=delta.text)
            )
            assert len(frame) <= MAX_FRAME_BYTES
            # Clients and proxies may see other JSON of the same text, escaped as far as it goes.
            assert len(json.dumps(delta.text, ensure_ascii=False).encode()) <= MAX_DELTA_BYTES + 2

    @given(long_texts)
    def test_frames_are_filled(self, text: str) -> None:
        deltas = all_deltas(text, 0)
        assert len(deltas) <= 1 + 6 * len(text) // (MAX_DELTA_BYTES // 2)


class TestResume:
    @pytest.mark.parametrize(
        ("place", "epoch", "base", "length", "expected"),
        [
            # Nothing yet.
            (Place(0, 0), 1, 0, 9, (0, False)),
            (Place(0, 0), 3, 5, 9, (0, False)),
            # The same epoch: all of it agrees.
            (Place(7, 2), 2, 5, 9, (7, False)),
            (Place(12, 2), 2, 5, 9, (9, True)),
            # The one before: up to what was taken over.
            (Place(4, 1), 2, 5, 9, (4, False)),
            (Place(7, 1), 2, 5, 9, (5, True)),
            # Older ones, or an epoch that is not told: nothing is known.
            (Place(4, 1), 3, 5, 9, (0, True)),
            (Place(4, 0), 3, 5, 9, (0, True)),
            # The first epoch has no former one, so a place in it needs no epoch.
            (Place(7, 0), 1, 0, 9, (7, False)),
            # An epoch that is yet to come is a lie or a very late read.
            (Place(7, 9), 2, 5, 9, (0, True)),
        ],
    )
    def test_where(
        self, place: Place, epoch: int, base: int, length: int, expected: tuple[int, bool]
    ) -> None:
        assert resume_at(place, epoch, base, length) == expected

    @given(
        st.builds(Place, st.integers(0, 99), st.integers(0, 5)),
        st.integers(1, 5),
        st.integers(0, 99),
        st.integers(0, 99),
    )
    def test_never_beyond_what_he_has_or_what_there_is(
        self, place: Place, epoch: int, base: int, length: int
    ) -> None:
        offset, cut_back = resume_at(place, epoch, base, length)
        assert 0 <= offset <= min(place.offset, length)
        assert cut_back == (offset < place.offset)


def pieces_of(epoch: int, text: str, cuts: list[int]) -> list[Checkpoint]:
    edges = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    return [Checkpoint("r_1", epoch, start, text[start:end]) for start, end in pairwise(edges)]


class TestDurableText:
    def test_of_nothing_is_nothing(self) -> None:
        assert durable_text([]) == ""

    @given(texts, st.lists(st.integers(1, 59)), st.randoms(use_true_random=False))
    def test_is_the_text_in_whatever_order_its_pieces_come(
        self, text: str, cuts: list[int], random: object
    ) -> None:
        pieces = pieces_of(1, text, cuts)
        random.shuffle(pieces)  # type: ignore[attr-defined]
        assert durable_text(pieces) == text

    @given(texts, st.lists(st.integers(1, 59)), st.data())
    def test_is_a_prefix_where_pieces_are_missing(
        self, text: str, cuts: list[int], data: st.DataObject
    ) -> None:
        pieces = pieces_of(1, text, cuts)
        kept = [piece for piece in pieces if data.draw(st.booleans())]
        found = durable_text(kept)
        assert text.startswith(found)
        missing = [piece.offset for piece in pieces if piece not in kept]
        assert len(found) == min(missing, default=len(text))

    @given(texts, texts, st.lists(st.integers(1, 59)))
    def test_of_a_later_epoch_passes_over_whatever_a_zombie_wrote(
        self, text: str, zombie: str, cuts: list[int]
    ) -> None:
        written = [*taken_over("r_1", 2, text), *pieces_of(1, text + zombie, cuts)]
        assert durable_text(written) == text

    def test_an_epoch_that_took_over_nothing_still_fences_the_former_one(self) -> None:
        assert durable_text([*taken_over("r_1", 2, ""), Checkpoint("r_1", 1, 0, "late")]) == ""

    def test_a_piece_written_again_and_longer_counts_once(self) -> None:
        pieces = [Checkpoint("r_1", 1, 0, "abc"), Checkpoint("r_1", 1, 2, "cdef")]
        assert durable_text(pieces) == "abcdef"

    @given(long_texts)
    def test_what_is_taken_over_is_all_of_it_in_pieces_that_fit_an_item(self, text: str) -> None:
        pieces = taken_over("r_1", 3, text)
        assert durable_text(pieces) == text
        assert max(len(piece.text.encode()) for piece in pieces) <= MAX_DELTA_BYTES
