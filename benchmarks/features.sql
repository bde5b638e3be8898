-- The features as of one day, from all events, as the definitions say them: the yardstick, in DuckDB's words.
-- $as_of, $first_day, $window (co-occurrence), $half_life, $largest_basket, $neighbours, $length are put in by features.py.

create or replace table known as
select * from events where run_date <= $as_of;

create or replace table bought as
select *, date_diff('day', event_date, $as_of) as age from known where weight > 0;

-- A basket counts once for each delivery and day that brought a part of it, for any key.
create or replace table pairs as
with net as (
    select user_id, item_id, sum(round(weight * 1000000)::bigint) as net from known group by all
), parts as (
    select user_id, item_id, run_date, event_date, count(distinct basket_id) as baskets, count(*) as events,
        sum(round(quantity * 10000)::bigint) as quantity_sum
    from bought group by all
), bought_pairs as (
    select user_id, item_id, sum(events)::bigint as events, sum(baskets)::bigint as baskets,
        sum(quantity_sum)::bigint / 10000 as quantity, min(event_date) as first_day, max(event_date) as last_day
    from parts group by all
)
select user_id, item_id, events, baskets, quantity, date_diff('day', last_day, $as_of) as days_since_last,
    date_diff('day', first_day, $as_of) as days_since_first,
    date_diff('day', first_day, last_day) / nullif(baskets - 1, 0) as mean_gap_days, net / 1000000 as affinity
from bought_pairs join net using (user_id, item_id) where net > 0;

create or replace table user_features as
with parts as (
    select user_id, run_date, event_date, age, count(distinct basket_id) as baskets, count(*) as events,
        sum(round(price * 10000)::bigint) as price_sum, count(price) as price_count
    from bought group by all
), own as (
    select user_id, $user_windows
        sum(events)::bigint as events_all, min(age) as days_since_last, max(age) as days_since_first,
        sum(baskets)::bigint as baskets_all,
        sum(price_sum)::bigint / 10000 / sum(price_count)::bigint as mean_price,
        sum(events)::bigint / sum(baskets)::bigint as mean_basket_items
    from parts group by user_id
), of_pairs as (
    select user_id, count(*) as items_all, count_if(baskets >= 2) / count(*) as repeat_share from pairs group by user_id
), said as (
    select user_id, max_by(country, (event_time, country)) filter (where country <> '') as country
    from bought group by user_id
)
select own.*, coalesce(items_all, 0) as items_all, coalesce(repeat_share, 0) as repeat_share, country
from own left join of_pairs using (user_id) left join said using (user_id);

create or replace table item_features as
with own as (
    select item_id, $item_windows
        count(*) as events_all, min(age) as days_since_last, max(age) as days_since_first,
        sum(round(price * 10000)::bigint)::bigint / 10000 / count(price) as mean_price,
        (count_if(age < 7) / 7) / ((count_if(age < 28) + 1) / 28) as trend
    from bought group by item_id
), of_pairs as (
    select item_id, count(*) as users_all, count_if(baskets >= 2) / count(*) as repeat_rate from pairs group by item_id
), said as (
    select item_id, max_by(title, (event_time, title)) filter (where title <> '') as title,
        max_by(kind, (event_time, kind)) filter (where kind <> '') as kind
    from bought group by item_id
)
select own.*, coalesce(users_all, 0) as users_all, coalesce(repeat_rate, 0) as repeat_rate, title, kind
from own left join of_pairs using (item_id) left join said using (item_id);

create or replace table sequences as
with lines as (
    select user_id, event_date, item_id, run_date, max(event_time) as moment from bought group by all
), placed as (
    select *, row_number() over (partition by user_id order by event_date desc, moment desc, item_id) as place from lines
)
select user_id, list(item_id order by place) as items,
    list(date_diff('day', event_date, $as_of) order by place) as days_ago
from placed where place <= $length group by user_id;

create or replace table cooccurrence as
with recent as (
    select distinct user_id, basket_id, run_date, event_date, item_id from bought where age < $window
), sized as (
    select *, pow(2, floor(date_diff('day', $first_day, event_date) / $half_life)) as weight from recent
    qualify count(*) over (partition by user_id, basket_id, run_date, event_date) <= $largest_basket
), sizes as (
    select item_id, sum(weight) as size from sized group by item_id
), met as (
    select a.item_id, b.item_id as neighbour_id, count(*) as baskets, sum(a.weight) as weight
    from sized a join sized b using (user_id, basket_id, run_date, event_date) where a.item_id < b.item_id
    group by all having count(*) >= 2
), scored as (
    select met.item_id, neighbour_id, baskets, weight / sqrt(x.size * y.size) as score
    from met join sizes x on x.item_id = met.item_id join sizes y on y.item_id = neighbour_id
)
select item_id, neighbour_id, baskets, score from (
    select * from scored
    union all select neighbour_id as item_id, item_id as neighbour_id, baskets, score from scored
)
qualify row_number() over (partition by item_id order by score desc, neighbour_id) <= $neighbours;
