"""Ask the lookup service from Python, in step or with asyncio. It needs httpcore and nothing else of the project.

    from nightshift.client import Client

    with Client("http://lookup:8090", fallback=["85123A", "22423"]) as lookup:
        for item in lookup.recommendations("17850", k=5).items:
            print(item.item_id, item.title)

With a fallback, `recommendations` and `batch` never raise, whatever becomes of the service: docs/client.md.
"""

from nightshift.client.answers import Degraded, History, Item, Model, Purchase, Recommendations, Run, Similar
from nightshift.client.asynchronous import AsyncClient
from nightshift.client.errors import ClientError, RefusedError, UnavailableError
from nightshift.client.retries import Policy
from nightshift.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Degraded",
    "History",
    "Item",
    "Model",
    "Policy",
    "Purchase",
    "Recommendations",
    "RefusedError",
    "Run",
    "Similar",
    "UnavailableError",
]
