import pandas as pd

from nightshift.models.attributes import bags, text_columns


def rows(frame: pd.DataFrame) -> list[list[int]]:
    found = bags(frame, text_columns(frame, "item_id"), 1000)
    ends = found.starts + found.lengths
    return [found.words[begin:end].tolist() for begin, end in zip(found.starts, ends, strict=True)]


def test_titles_share_words_whatever_their_case_and_punctuation():
    red, blue = rows(pd.DataFrame({"item_id": ["1", "2"], "title": ["RED mug, large", "Mug (blue)"]}))
    assert len(set(red) & set(blue)) == 1


def test_an_attribute_counts_as_a_whole_and_not_as_a_word():
    title, kind = rows(pd.DataFrame({"item_id": ["1", "2"], "title": ["mug", None], "kind": [None, "mug"]}))
    assert len(title) == len(kind) == 1
    assert title != kind


def test_an_item_without_any_text_has_no_words():
    assert rows(pd.DataFrame({"item_id": ["1", "2"], "title": [None, ""]})) == [[], []]
