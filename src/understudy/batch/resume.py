"""What an earlier run on the same output has settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from understudy.batch.folder import Outputs
from understudy.batch.items import Item
from understudy.batch.ledger import Ledger, Row, Status
from understudy.batch.progress import Event
from understudy.batch.sources import printable
from understudy.errors import StateMismatchError

MAX_AHEAD = 256


def with_rows(items: Iterable[Item], ledger: Ledger) -> Iterator[tuple[Item, Row | None]]:
    """Each item with its row. While all have one, more and more are looked up at a time; else one by one, so that
    little more is listed than is worked on.
    """
    waiting = iter(items)
    n_ahead = 1
    while chunk := list(islice(waiting, n_ahead)):
        rows = ledger.find_many([item.image_id for item in chunk])
        yield from ((item, rows.get(item.image_id)) for item in chunk)
        n_ahead = min(2 * n_ahead, MAX_AHEAD) if len(rows) == len(chunk) else 1


def is_settled(item: Item, row: Row | None, outputs: Outputs, ledger: Ledger) -> bool:
    """Whether an earlier run finished an input, and it still is what it was.

    What was refused is tried again, which costs its first bytes: a limit may have been raised since, or an extra
    installed.

    Raises
    ------
    StateMismatchError
        Its source changed.
    """
    if row is None or row.status not in (Status.DONE, Status.SKIPPED):
        return False
    if row.status is Status.DONE and not outputs.exists(item, row):
        return False
    now = item.version()
    if (row.source_bytes, row.source_mtime_ns) != (now or (None, None)):
        if row.status is not Status.DONE:
            return False
        if now is not None:  # where the source is out of reach for now, what was made of it stays
            _compare(item, row)
            ledger.touch(item.image_id, *now)
    return True


def _compare(item: Item, row: Row) -> None:
    """The digest decides where size or time differ."""
    if item.digest() != row.digest:
        name, written = printable(item.image_id), printable(str(row.output))
        raise StateMismatchError(
            f"source {name!r} changed since it was anonymised: put the earlier file back, or delete "
            f"{written!r} in the output folder to have it made again, or begin anew with resume=restart"
        )


def event_of(row: Row, *, resumed: bool) -> Event:
    """A row as what is told of it."""
    outcomes = Counter(replaced=row.n_replaced, filled=row.n_filled, obscured=row.n_obscured)
    return Event(row.status, row.image_id, row.error, outcomes=+outcomes, resumed=resumed)


class Resumed:
    """Adds up settled inputs, so that a restart over many of them does not speak of each."""

    def __init__(self) -> None:
        self._n: Counter[Status] = Counter()
        self._outcomes: Counter[str] = Counter()

    def add(self, row: Row) -> bool:
        """One more; whether it is time to tell."""
        self._n[row.status] += 1
        if row.n_regions:
            self._outcomes.update(replaced=row.n_replaced, filled=row.n_filled, obscured=row.n_obscured)
        return sum(self._n.values()) >= MAX_AHEAD

    def events(self) -> Iterator[Event]:
        """What was added since the last time."""
        counts, outcomes = self._n, +self._outcomes
        self._n, self._outcomes = Counter(), Counter()
        for status, n in counts.items():
            yield Event(status, n=n, outcomes=outcomes if status is Status.DONE else Counter(), resumed=True)
