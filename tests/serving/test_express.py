"""The short way and the general way of a request are one: they give the same answers and count the same."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing.storage import open_storage
from tests.publishing.planted import USERS, day, publish_live
from tests.serving.asking import Client, make_client

users = st.sampled_from([*USERS, "nobody", "", "x" * 300]) | st.text(st.characters(exclude_categories=["Cs"]))
queries = st.sampled_from(["", "k=1", "k=20", "k=0", "k=1&k=2", "surface=home", "surface=x", "exclude=21034", "%FF"])
headers = st.fixed_dictionaries(
    {}, optional={"if-none-match": st.sampled_from(["*", '"x"']), "accept-encoding": st.sampled_from(["gzip", "br"])}
)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> tuple[Client, Client]:
    """Two services of one store: the second takes the general way only. Both pack answers of 100 bytes."""
    folder = tmp_path_factory.mktemp("store")
    storage = open_storage((folder / "published").as_uri())
    publish_live(storage, day(30), "night")
    short, general = (make_client(storage, folder / name, gzip_from=100) for name in ("short", "general"))
    return short, Client(general.app, general=True)


@given(user=users, query=queries, headers=headers, method=st.sampled_from(["GET", "HEAD", "POST"]))
def test_both_ways_give_the_same_answer_and_count_the_same(
    clients: tuple[Client, Client], user: str, query: str, headers: dict[str, str], method: str
) -> None:
    address = f"/v1/users/{quote(user, safe='')}/recommendations?{query}"
    short, general = (client.request(method, address, headers=headers) for client in clients)
    assert short == general
    counted = [
        ([(route, status, sum(buckets)) for route, status, buckets in metrics.requests()], list(metrics.events()))
        for metrics in (client.service.metrics for client in clients)
    ]
    assert counted[0] == counted[1]
