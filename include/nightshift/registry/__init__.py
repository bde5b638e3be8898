"""Which model versions there are, which of them is the champion, and since when."""

from nightshift.registry.promotions import Champion, champion_before, lost_before, promotions_table, record_promotion

__all__ = ["Champion", "champion_before", "lost_before", "promotions_table", "record_promotion"]
