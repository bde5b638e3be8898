"""Lists without what is to be left out, made up from others; and the lists of segments."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing.storage import open_storage
from nightshift.serving.following.live import Attributes, Sized
from tests.publishing.planted import ITEMS, day, publish_live
from tests.serving.asking import Client, make_client
from tests.serving.planted_records import attribute_pairs, publish_with, segment_pairs, user_pair

OWN = [f"own{number}" for number in range(6)]
GERMAN = ["de0", "own1", "de2", "de3"]
KINDS = {
    **{item: {"kind": "mug" if number % 2 else "lamp", "brand": "Ours"} for number, item in enumerate(OWN)},
    **{item: {"kind": "mug", "colours": ["red", "blue"]} for item in GERMAN if item not in OWN},
    **{item: {"kind": "lamp", "brand": None} for item in ITEMS[:2]},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Anna has a list of her own, Germany has one, and items have attributes; the popular list is `ITEMS`."""
    folder = tmp_path_factory.mktemp("store")
    storage = open_storage((folder / "published").as_uri())
    pairs = [user_pair("anna", OWN), *segment_pairs({"country:Germany": GERMAN}), *attribute_pairs(KINDS)]
    publish_with(storage, day(30), "night", pairs)
    return make_client(storage, folder / "cache")


def asked(client: Client, user: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"/v1/users/{quote(user)}/recommendations?{urlencode(parameters, doseq=True)}")
    assert answer.status == 200, answer.text
    return answer.json()


def items(answer: dict[str, Any]) -> list[str]:
    return [entry["item_id"] for entry in answer["items"]]


def test_what_is_excluded_is_not_there_and_others_make_the_list_up(client: Client) -> None:
    assert items(asked(client, "anna", k=6, exclude=["own0", "own3"])) == ["own1", "own2", "own4", "own5", *ITEMS[:2]]
    with_segment = asked(client, "anna", k=6, exclude=["own0", "own3"], segment="country:Germany")
    assert items(with_segment) == ["own1", "own2", "own4", "own5", "de0", "de2"]
    assert with_segment["degraded"] is None


def test_a_list_is_made_up_only_where_something_was_asked_to_be_left_out(client: Client) -> None:
    assert items(asked(client, "anna")) == OWN
    assert items(asked(client, "anna", exclude="nothing like it")) == [*OWN, *ITEMS]


def test_a_filter_keeps_items_that_have_one_of_the_values_of_every_attribute(client: Client) -> None:
    assert items(asked(client, "anna", filter="kind:mug")) == ["own1", "own3", "own5"]
    assert items(asked(client, "anna", filter=["kind:mug", "kind:lamp"], exclude=ITEMS)) == OWN
    assert items(asked(client, "anna", filter=["kind:lamp", "brand:Ours"])) == ["own0", "own2", "own4"]
    assert items(asked(client, "anna", filter="colours:blue", segment="country:Germany")) == ["de0", "de2", "de3"]
    assert items(asked(client, "anna", filter="kind:candle")) == []


def test_an_item_without_attributes_fits_no_filter(client: Client) -> None:
    assert set(items(asked(client, "nobody", filter="kind:lamp"))) == set(ITEMS[:2])


@pytest.mark.parametrize("user", ["anna", "nobody"])
def test_a_filter_by_what_items_do_not_have_is_refused_with_what_they_have(client: Client, user: str) -> None:
    answer = client.get(f"/v1/users/{user}/recommendations?filter=size:XL")
    assert (answer.status, answer.json()["detail"]) == (
        400,
        "Items have no attribute 'size'; they have brand, colours, kind.",
    )


def test_a_run_without_attributes_refuses_to_filter(tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    publish_live(storage, day(30), "night")
    answer = make_client(storage, tmp_path).get("/v1/items/22423/similar?filter=kind:mug")
    assert answer.status == 400
    assert answer.json()["detail"] == "The run of 2011-11-30 has no attributes of items to filter by."


def test_who_has_no_list_gets_their_segments_and_is_told_so(client: Client) -> None:
    answer = asked(client, "nobody", segment="country:Germany", k=2)
    assert items(answer) == GERMAN[:2]
    assert answer["degraded"] == {
        "level": "segment",
        "reason": "the run of 2011-11-30 does not know this user; these items are for country:Germany",
    }
    assert items(asked(client, "anna", segment="country:Germany")) == OWN


def test_a_segment_that_has_no_list_gives_the_popular_one(client: Client) -> None:
    answer = asked(client, "nobody", segment="country:Nowhere")
    assert (items(answer), answer["degraded"]["level"]) == (list(ITEMS), "popular")
    assert "no list for country:Nowhere" in answer["degraded"]["reason"]


def test_a_segments_list_is_made_up_from_the_popular_one(client: Client) -> None:
    answer = asked(client, "nobody", segment="country:Germany", exclude=["de0", "own1"], k=3)
    assert (items(answer), answer["degraded"]["level"]) == (["de2", "de3", ITEMS[0]], "segment")


def test_similar_items_are_left_out_and_never_made_up(client: Client) -> None:
    everything = client.get("/v1/items/21034/similar").json()
    assert [entry["item_id"] for entry in everything["items"]] == ["22423"]
    assert client.get("/v1/items/21034/similar?exclude=22423").json()["items"] == []
    assert client.get("/v1/items/21034/similar?filter=kind:mug").json()["items"] == []


def test_a_batch_leaves_out_the_same_for_everybody(client: Client) -> None:
    body = {"user_ids": ["anna", "nobody"], "k": 3, "exclude": ["own0", ITEMS[0]], "filter": {"kind": ["lamp", "mug"]}}
    answer = client.post("/v1/recommendations:batch", body).json()
    assert [items(result) for result in answer["results"]] == [["own1", "own2", "own3"], [ITEMS[1]]]


@pytest.fixture
def reads() -> list[bytes]:
    """The keys that `attributes` was asked for."""
    return []


@pytest.fixture
def attributes(reads: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Attributes:
    """Of a run with the `KINDS`, of which two may be kept, and one whose attributes are long."""
    kept = dict(attribute_pairs({**KINDS, "long": {"colours": ["a shade of red"] * 30}}))

    def read(key: bytes, parse: Callable[[bytes], Sized]) -> Sized | None:
        reads.append(key)
        return parse(kept[key]) if key in kept else None

    monkeypatch.setattr("nightshift.serving.following.live.MOST_ITEMS", 2)
    return Attributes(read)


def test_the_attributes_of_an_item_are_read_once_and_of_so_many_items_alone(
    attributes: Attributes, reads: list[bytes]
) -> None:
    for item in ("own0", "own1", "own0", "own1"):
        assert attributes.of(item) == {name: (value,) for name, value in KINDS[item].items()}
    assert len(reads) == 2
    for item in ("nobody knows it", "own1"):
        attributes.of(item)
    assert len(reads) == 4


def test_attributes_that_are_long_are_not_kept(attributes: Attributes, reads: list[bytes]) -> None:
    for _ in range(2):
        assert attributes.of("long") == {"colours": ("a shade of red",) * 30}
    assert len(reads) == 2


def test_the_attributes_of_a_run_go_with_it_and_stay_while_it_is_stale(tmp_path: Path) -> None:
    storage = open_storage((tmp_path / "store").as_uri())
    publish_with(storage, day(29), "night", attribute_pairs(KINDS))
    client = make_client(storage, tmp_path / "cache")
    follower = client.service.followers["home"]
    assert items(asked(client, "nobody", filter="kind:lamp")) == list(ITEMS[:2])
    assert follower.live
    assert follower.live.now("old")._attributes is follower.live._attributes
    kept = weakref.ref(follower.live._attributes)
    publish_with(storage, day(30), "night", attribute_pairs(KINDS | {ITEMS[0]: {"kind": "mug"}}))
    follower.look()
    gc.collect()
    assert kept() is None
    assert items(asked(client, "nobody", filter="kind:lamp")) == [ITEMS[1]]


@given(
    k=st.integers(1, 20),
    exclude=st.sets(st.sampled_from([*OWN, *GERMAN, *ITEMS, "else"])),
    segment=st.sampled_from([None, "country:Germany", "country:Nowhere"]),
    user=st.sampled_from(["anna", "nobody"]),
)
def test_k_are_given_where_there_are_k_each_once_and_none_that_is_excluded(
    client: Client, k: int, exclude: set[str], segment: str | None, user: str
) -> None:
    exclude |= {"else"}
    parameters = {"k": k, "exclude": sorted(exclude), **({"segment": segment} if segment else {})}
    found = items(asked(client, user, **parameters))
    here = [*(OWN if user == "anna" else []), *(GERMAN if segment == "country:Germany" else []), *ITEMS]
    assert found == [item for item in dict.fromkeys(here) if item not in exclude][:k]


def test_lists_that_were_made_up_are_counted(client: Client) -> None:
    before = dict(_events(client))
    asked(client, "anna", k=6, exclude="own0")
    asked(client, "anna", k=5, exclude="own0")
    after = dict(_events(client))
    assert {name: after[name] - before[name] for name in ("own", "refilled")} == {"own": 2, "refilled": 1}


def _events(client: Client) -> list[tuple[str, int]]:
    return [(event, count) for _, event, count in client.service.metrics.events()]
