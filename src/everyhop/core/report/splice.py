"""JSON whose one long list is written as it comes.

Rules: a fleet's document is never held as one text. What stands around the list is small and rendered whole with the
list empty; the items then go where the list stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def spliced(around: str, name: str, items: Iterable[str], *, margin: str = "") -> Iterator[str]:
    """``around`` is JSON in which the list ``name`` is empty; the pieces that come are the same with its items in it.

    ``margin`` stands before the list's closing bracket. Inside a JSON string quotes are escaped, so that the name with
    its quotes can be nothing but the key.
    """
    before, key, after = around.partition(f'"{name}": []')
    if not key:
        raise ValueError(f"expected an empty list {name}, got none")
    yield f'{before}"{name}": ['
    last = ""
    for item in items:
        yield f"{last}\n{item}"
        last = ","
    yield f"\n{margin}]{after}" if last else f"]{after}"
