"""The nearest tokens of a token in the input embeddings: computed once, kept on disk and in memory.

Distances are taken in float32 to find candidates, and in float64 among these, so that the order does not hang on how a
machine sums; equal distances are ordered by id. Two tokens whose similarities differ by less than about 1e-15 could
still swap places between machines.

Source: paper, table 1 (its text says dot product, its code uses cosine; both exclude only the token itself).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from unhitch.neighbours.cache import NeighbourCache
from unhitch.neighbours.embeddings import Embeddings

Metric: TypeAlias = Literal["cosine", "dot"]

MOST = 100
"""How many neighbours are kept of a token: the most that can be asked for."""

_CANDIDATES = 2 * MOST
_CHUNK_BYTES = 1 << 26
_KEPT_TOKENS = 20_000
_OPEN_CHECKPOINTS = 8

_log = logging.getLogger(__name__)


def nearest(
    checkpoint: str | Path, vocabulary_size: int, token_ids: Iterable[int], metric: Metric = "cosine"
) -> dict[int, tuple[int, ...]]:
    """The nearest tokens of each token, nearest first.

    Reads the whole embedding matrix for tokens that are not cached (about a second for a GB), so give many at once.

    Args:
        checkpoint: Folder with the safetensors of the model.
        vocabulary_size: Ids from here on are no neighbours: rows that only pad the matrix.
        token_ids: Ids from 0 to `vocabulary_size - 1`.
        metric: Cosine similarity or dot product.

    Returns:
        By token id, at most `MOST` other ids. A token whose row is zero or missing has none, and is nobody's neighbour.

    Raises:
        CheckpointError: The embeddings cannot be read.
    """
    with _opening:  # of several first callers one reads the matrix's digest, and the others find its table
        table = _table(str(checkpoint), vocabulary_size, metric)
    return table.nearest(token_ids)


_opening = Lock()


@lru_cache(maxsize=_OPEN_CHECKPOINTS)
def _table(folder: str, vocabulary_size: int, metric: Metric) -> NeighbourTable:
    embeddings = Embeddings.open(Path(folder))
    return NeighbourTable(embeddings, vocabulary_size, metric, NeighbourCache.default())


class NeighbourTable:
    """The neighbours of one matrix under one metric; threads may share it.

    Args:
        embeddings: The matrix.
        vocabulary_size: Ids from here on are left out.
        metric: Cosine similarity or dot product.
        cache: Where results are kept on disk.
    """

    def __init__(self, embeddings: Embeddings, vocabulary_size: int, metric: Metric, cache: NeighbourCache) -> None:
        self._embeddings = embeddings
        self._limit = min(vocabulary_size, len(embeddings))
        self._metric = metric
        self._cache = cache
        self._key = f"{cache.digest(embeddings)[:32]}-{metric}-{self._limit}"
        self._known: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._lock = Lock()
        self._computing = Lock()

    def nearest(self, token_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """See the function `nearest`."""
        wanted = sorted(set(token_ids))
        found = self._recall(wanted)
        if len(found) < len(wanted):
            with self._computing:  # whoever waited here may find the result ready
                found |= self._recall([token for token in wanted if token not in found])
                found |= self._computed([token for token in wanted if token not in found])
        return found

    def _recall(self, token_ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """What is known in memory or on disk."""
        found = {}
        for token in token_ids:
            with self._lock:
                neighbours = self._known.get(token)
                if neighbours is not None:
                    self._known.move_to_end(token)
            if neighbours is None:
                neighbours = self._cache.read(self._key, token)
                if neighbours is None or not self._plausible(token, neighbours):
                    continue
                self._keep(token, neighbours)
            found[token] = neighbours
        return found

    def _computed(self, token_ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        computed = self._compute(token_ids) if token_ids else {}
        for token, neighbours in computed.items():
            self._keep(token, neighbours)
            self._cache.write(self._key, token, neighbours)
        return computed

    def _plausible(self, token: int, stored: Sequence[int]) -> bool:
        distinct = len({*stored, token}) == len(stored) + 1
        if distinct and len(stored) <= MOST and all(0 <= other < self._limit for other in stored):
            return True
        _log.warning("the cached neighbours of token %d do not fit the model and are computed anew", token)
        return False

    def _keep(self, token: int, neighbours: tuple[int, ...]) -> None:
        with self._lock:
            self._known[token] = neighbours
            if len(self._known) > _KEPT_TOKENS:
                self._known.popitem(last=False)

    def _compute(self, token_ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        inside = [token for token in token_ids if 0 <= token < self._limit]
        queries = self._embeddings.rows(np.array(inside, dtype=np.int64))
        best = [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in inside]
        row_count = max(1, _CHUNK_BYTES // (4 * queries.shape[1]))
        for start, rows in self._embeddings.chunks(row_count, self._limit):
            norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            scores = queries @ rows.T
            if self._metric == "cosine":
                scores /= np.where(norms > 0, norms, 1)
            for number, token in enumerate(inside):
                usable = np.flatnonzero(norms > 0)
                usable = usable[usable + start != token]
                best[number] = _highest(
                    np.concatenate((best[number][0], scores[number, usable])),
                    np.concatenate((best[number][1], usable + start)),
                    _CANDIDATES,
                )
        ranked = {token: self._ranked(token, ids) for token, (_, ids) in zip(inside, best, strict=True)}
        return {token: ranked.get(token, ()) for token in token_ids}

    def _ranked(self, token: int, candidates: npt.NDArray[np.int64]) -> tuple[int, ...]:
        query = self._embeddings.rows(np.array([token]))[0].astype(np.float64)
        if not query.any():
            return ()
        rows = self._embeddings.rows(candidates).astype(np.float64)
        scores = (rows * query).sum(axis=1)
        if self._metric == "cosine":
            scores /= np.sqrt((rows * rows).sum(axis=1))
        return tuple(int(token) for token in _highest(scores, candidates, MOST)[1])


def _highest(
    scores: npt.NDArray[np.floating], ids: npt.NDArray[np.int64], count: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]:
    """The `count` highest scores and their ids, highest first, equal scores by id."""
    if len(scores) > count:
        bar = np.partition(scores, len(scores) - count)[len(scores) - count]
        reached = np.flatnonzero(scores >= bar)
        scores, ids = scores[reached], ids[reached]
    order = np.lexsort((ids, -scores))[:count]
    return scores[order], ids[order]
