"""From scored candidates to lists that keep the rules of the configuration (`lists.rules`).

The steps, in their order; what an earlier one demands, no later one undoes:
    allowed         only what is sellable and not banned, and not what a user has and is not to be offered again yet
    pinned          the pinned items that are allowed, first, in their order
    cap             at most so many items of a value; pinned items count, and are never dropped for it
    exposure        at least so many items of a group, as far as there are such under the caps
    full            a list is as long as the rules above let it be: completed, where it must, with what is popular
    freshness       a boost for items first seen of late
    diversity       what is like the items already in the list loses
Which items, which values and how much is in `rules`; `greedy` fills the lists place by place with the best item that is
left, worth what `diversity` says; `exposure` sees to the groups; `exact` settles, by integer programming, the few lists
for which taking the best first may have missed what can be had.
"""

from nightshift.ranking.rerank.lists import CANDIDATES, Reranked, pick, rerank
from nightshift.ranking.rerank.rules import Rules

__all__ = ["CANDIDATES", "Reranked", "Rules", "pick", "rerank"]
