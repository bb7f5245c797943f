-- The history and the marts as they must be, from the company's tables as the event log leaves them at a
-- run's cut-off. Written apart from the dbt project: on the source's own names, without its layers.

-- What the run sees of each customer, kept for all runs so far.
create or replace view state as
select
    c_customer_sk as customer_sk, c_customer_id as customer_id,
    c_salutation as salutation, c_first_name as first_name, c_last_name as last_name,
    c_email_address as email_address, c_birth_year as birth_year, c_birth_country as birth_country,
    c_preferred_cust_flag = 'Y' as is_preferred_customer, c_current_addr_sk as address_sk, ca_city as city,
    ca_county as county, ca_state as state, ca_zip as zip_code, ca_country as country, cd_gender as gender,
    cd_marital_status as marital_status, cd_education_status as education_status,
    cd_credit_rating as credit_rating, hd_buy_potential as buy_potential,
    ib_lower_bound as income_lower_bound, ib_upper_bound as income_upper_bound, d_date as first_sales_date,
    timezone('UTC', greatest(customer.updated_at, customer_address.updated_at)) as changed_at
from customer
left join customer_address on ca_address_sk = c_current_addr_sk
left join customer_demographics on cd_demo_sk = c_current_cdemo_sk
left join household_demographics on hd_demo_sk = c_current_hdemo_sk
left join income_band on ib_income_band_sk = hd_income_band_sk
left join date_dim on d_date_sk = c_first_sales_date_sk;

create table if not exists states as select 0 as run, * from state limit 0;
-- A change time that went back, since a late transaction wrote over a later one, is none: as late as before.
insert into states
select getvariable('run'), * replace (greatest(changed_at, (
    select max(changed_at) from states as earlier where earlier.customer_sk = state.customer_sk
)) as changed_at)
from state;

-- A version per change time that some run has seen, with what the last run to see it saw; a deleted
-- customer's last version once more, from just after the latest change that the run saw without them.
create or replace table dim_customers_history as
with seen as (
    select * exclude (run), false as is_deleted from states
    qualify row_number() over (partition by customer_sk, changed_at order by run desc) = 1
    union all
    select
        * exclude (run) replace ((
            select max(changed_at) + interval 1 microsecond from states as known where known.run <= gone.run + 1
        ) as changed_at),
        true as is_deleted
    from states as gone
    where run < getvariable('run') and not exists (
        from states as next where next.run = gone.run + 1 and next.customer_sk = gone.customer_sk
    )
)
select
    * exclude (changed_at, is_deleted),
    if(lag(changed_at) over customer_versions is null, timestamp '1900-01-01', changed_at) as valid_from,
    coalesce(lead(changed_at) over customer_versions, timestamp '9999-12-31') as valid_to,
    lead(changed_at) over customer_versions is null as is_current,
    is_deleted
from seen
window customer_versions as (partition by customer_sk order by changed_at)
union all by name
select
    -1 as customer_sk, 'UNKNOWN' as customer_id, timestamp '1900-01-01' as valid_from,
    timestamp '9999-12-31' as valid_to, true as is_current, false as is_deleted;

create or replace table dim_customers as
select * exclude (valid_from, valid_to, is_current) from dim_customers_history where is_current;

-- What the run sees of each promotion, kept for all runs so far, and how late it is by the ERP's own clock.
create or replace view promotion_state as
select
    p_promo_sk as promotion_sk, p_promo_id as promotion_id, p_promo_name as promotion_name, p_item_sk as item_sk,
    began.d_date as start_date, ended.d_date as end_date, p_cost as promotion_cost,
    p_response_target as response_target, p_purpose as purpose, p_channel_dmail = 'Y' as is_direct_mail,
    p_channel_email = 'Y' as is_email, p_channel_catalog = 'Y' as is_catalog, p_channel_tv = 'Y' as is_tv,
    p_channel_radio = 'Y' as is_radio, p_channel_press = 'Y' as is_press, p_channel_event = 'Y' as is_event,
    p_channel_demo = 'Y' as is_demo, p_discount_active = 'Y' as is_discount_active
from promotion
left join date_dim as began on began.d_date_sk = p_start_date_sk
left join date_dim as ended on ended.d_date_sk = p_end_date_sk;

create table if not exists promotion_states as select 0 as run, * from promotion_state limit 0;
insert into promotion_states select getvariable('run'), * from promotion_state;
create table if not exists clocks (run int, clock timestamp);
insert into clocks
select getvariable('run'), timezone('UTC', max(updated_at)) from (
    select updated_at from item
    union all select updated_at from catalog_sales
    union all select updated_at from web_sales
);

-- A version from each run on that sees other values than the run before; one more when it is gone.
create or replace table dim_promotions_history as
with seen as (
    select seen.* exclude (run), clock as changed_at, false as is_deleted
    from (from promotion_states except select * replace (run + 1 as run) from promotion_states) as seen
    inner join clocks using (run)
    where run <= getvariable('run')
    union all
    select gone.* exclude (run), clock + interval 1 microsecond, true
    from promotion_states as gone
    inner join clocks on clocks.run = gone.run + 1
    where (gone.run + 1, gone.promotion_sk) not in (select (run, promotion_sk) from promotion_states)
)
select
    * exclude (changed_at, is_deleted),
    if(lag(changed_at) over promotion_versions is null, timestamp '1900-01-01', changed_at) as valid_from,
    coalesce(lead(changed_at) over promotion_versions, timestamp '9999-12-31') as valid_to,
    lead(changed_at) over promotion_versions is null as is_current,
    is_deleted
from seen
window promotion_versions as (partition by promotion_sk order by changed_at)
union all by name
select
    -1 as promotion_sk, 'UNKNOWN' as promotion_id, 'Unknown promotion' as promotion_name,
    timestamp '1900-01-01' as valid_from, timestamp '9999-12-31' as valid_to, true as is_current,
    false as is_deleted;

create or replace table dim_promotions as
select * exclude (valid_from, valid_to, is_current) from dim_promotions_history where is_current;

create or replace table dim_dates as
select
    d_date_sk as date_sk, d_date as date,
    -- The source calls some days of 1900 and 2100 by the wrong name; their weeks follow it.
    if(d_dow = dayofweek(d_date), date_trunc('week', d_date)::date, d_date - ((d_dow + 6) % 7)::int) as week_start_date,
    date_trunc('month', d_date)::date as month_start_date, d_quarter_name as quarter_name, d_year as year,
    d_moy as month_of_year, d_dow as day_of_week, d_day_name as day_name, d_holiday = 'Y' as is_holiday,
    d_fy_year as fiscal_year, d_fy_quarter_seq as fiscal_quarter, d_fy_week_seq as fiscal_week
from date_dim;

create or replace table dim_warehouses as
select
    w_warehouse_sk as warehouse_sk, w_warehouse_id as warehouse_id, w_warehouse_name as warehouse_name,
    w_warehouse_sq_ft as square_feet, w_city as city, w_county as county, w_state as state, w_zip as zip_code,
    w_country as country
from warehouse
union all by name
select -1 as warehouse_sk, 'UNKNOWN' as warehouse_id, 'Unknown warehouse' as warehouse_name;

create or replace table dim_return_reasons as
select r_reason_sk as reason_sk, r_reason_id as reason_id, r_reason_desc as reason_description from reason
union all
select -1, 'UNKNOWN', 'Unknown reason';

create or replace table dim_items as
select
    i_item_sk as item_sk, i_item_id as item_id, i_item_desc as item_description, i_brand as brand,
    i_class as class, i_category as category, i_manufact as manufacturer, i_product_name as product_name,
    i_size as size, i_color as color, i_units as units, i_current_price as current_price,
    i_wholesale_cost as wholesale_cost,
    coalesce(i_rec_start_date, lag(i_rec_end_date) over item_versions + 1, date '1900-01-01') as valid_from,
    coalesce(i_rec_end_date + 1, date '9999-12-31') as valid_to,
    i_rec_end_date is null as is_current
from item
window item_versions as (partition by i_item_id order by i_item_sk);

create or replace table lines as
select
    'catalog' as sales_channel, cs_order_number as order_number, cs_item_sk as item_sk,
    cs_bill_customer_sk as bill_sk, coalesce(cs_warehouse_sk, -1) as warehouse_sk,
    coalesce(cs_promo_sk, -1) as promotion_sk, cs_sold_date_sk as sold_date_sk, cs_sold_time_sk as sold_time_sk,
    cs_quantity as quantity, cs_wholesale_cost as wholesale_cost, cs_list_price as list_price,
    cs_sales_price as sales_price, cs_ext_discount_amt as discount_amount,
    cs_ext_sales_price as gross_sales_amount, cs_ext_wholesale_cost as wholesale_amount,
    cs_coupon_amt as coupon_amount, cs_ext_tax as tax_amount, cs_ext_ship_cost as shipping_amount,
    cs_net_paid as net_paid_amount, cs_net_profit as net_profit_amount, timezone('UTC', updated_at) as updated_at
from catalog_sales
union all
select
    'web', ws_order_number, ws_item_sk, ws_bill_customer_sk, coalesce(ws_warehouse_sk, -1),
    coalesce(ws_promo_sk, -1), ws_sold_date_sk, ws_sold_time_sk, ws_quantity, ws_wholesale_cost, ws_list_price,
    ws_sales_price, ws_ext_discount_amt, ws_ext_sales_price, ws_ext_wholesale_cost, ws_coupon_amt, ws_ext_tax,
    ws_ext_ship_cost, ws_net_paid, ws_net_profit, timezone('UTC', updated_at)
from web_sales;

create or replace table fct_returns as
with returns as (
    select
        'catalog' as sales_channel, cr_order_number as order_number, cr_item_sk as item_sk,
        cr_refunded_customer_sk as refunded_sk, coalesce(cr_reason_sk, -1) as reason_sk,
        cr_returned_date_sk as returned_date_sk, cr_return_quantity as return_quantity,
        cr_return_amount as return_amount, cr_return_tax as return_tax_amount, cr_fee as fee_amount,
        cr_return_ship_cost as return_shipping_amount, cr_net_loss as net_loss_amount,
        timezone('UTC', updated_at) as updated_at
    from catalog_returns
    union all
    select
        'web', wr_order_number, wr_item_sk, wr_refunded_customer_sk, coalesce(wr_reason_sk, -1),
        wr_returned_date_sk, wr_return_quantity, wr_return_amt, wr_return_tax, wr_fee, wr_return_ship_cost,
        wr_net_loss, timezone('UTC', updated_at)
    from web_returns
)
select
    concat_ws('-', sales_channel, order_number, item_sk) as return_key,
    if((sales_channel, order_number, item_sk) in (select (sales_channel, order_number, item_sk) from lines),
        return_key, null) as sale_key,
    if(refunded_sk in (select customer_sk from dim_customers), refunded_sk, -1) as customer_sk,
    d_date as returned_date,
    returns.* exclude (refunded_sk)
from returns left join date_dim on d_date_sk = returned_date_sk;

create or replace table fct_sales as
select
    concat_ws('-', sales_channel, order_number, item_sk) as sale_key,
    coalesce(history.customer_sk, -1) as customer_sk,
    coalesce(history.valid_from, timestamp '1900-01-01') as version_from,
    d_date as sold_date,
    d_date::timestamp + to_seconds(coalesce(sold_time_sk, 0)) as sold_at,
    coalesce(back.return_quantity, 0) as return_quantity,
    coalesce(back.return_amount, 0) as return_amount,
    lines.* exclude (bill_sk, sold_time_sk)
from lines
left join date_dim on d_date_sk = sold_date_sk
left join dim_customers_history as history
    on history.customer_sk = bill_sk and coalesce(d_date::timestamp + to_seconds(coalesce(sold_time_sk, 0)),
        timestamp '1900-01-01') between history.valid_from and history.valid_to - interval 1 microsecond
left join fct_returns as back using (sales_channel, order_number, item_sk);

create or replace table fct_inventory_weekly as
select
    inv_warehouse_sk as warehouse_sk, inv_item_sk as item_sk, date_trunc('week', max(d_date))::date as week_start_date,
    max(d_date) as counted_date, last(inv_quantity_on_hand order by d_date) as quantity_on_hand
from inventory inner join date_dim on d_date_sk = inv_date_sk
group by 1, 2, date_trunc('week', d_date);

create or replace table fct_weekly_sales_inventory as
with sold as (
    select warehouse_sk, item_sk, date_trunc('week', sold_date)::date as week_start_date, count(*) as sale_lines,
        sum(coalesce(quantity, 0)) as quantity_sold, sum(coalesce(gross_sales_amount, 0)) as gross_sales_amount
    from fct_sales where sold_date is not null group by all
),
days as (
    select date_trunc('week', day)::date as week_start_date, count(*) as days_observed
    from (select unnest(generate_series(min(sold_date), max(sold_date), interval 1 day)) as day from fct_sales)
    group by all
)
select
    warehouse_sk, item_sk, week_start_date, coalesce(sale_lines, 0) as sale_lines,
    coalesce(quantity_sold, 0)::bigint as quantity_sold,
    coalesce(gross_sales_amount, 0)::decimal(38, 2) as gross_sales_amount,
    (coalesce(quantity_sold, 0) / nullif(days.days_observed, 0))::decimal(18, 4) as average_daily_quantity,
    counted_date, quantity_on_hand,
    (quantity_on_hand / nullif(quantity_sold / days.days_observed * 7, 0))::decimal(18, 4) as weeks_of_supply,
    case when quantity_on_hand is not null then quantity_on_hand = 0
        or coalesce(quantity_on_hand < quantity_sold / days.days_observed * 7, false) end as is_low_stock,
    coalesce(days.days_observed, 0) as days_observed,
    coalesce(days.days_observed, 0) < 7 as is_partial_week
from sold
full outer join fct_inventory_weekly using (warehouse_sk, item_sk, week_start_date)
left join days using (week_start_date);

create or replace table mart_executive_daily as
with moves as (
    select sold_date as date, sales_channel, order_number, customer_sk, gross_sales_amount as gross, 0 as back,
        net_profit_amount as profit
    from fct_sales
    union all
    select returned_date, sales_channel, null, null, 0, return_amount, -net_loss_amount from fct_returns
)
select
    date, sales_channel, count(distinct order_number) as orders,
    count(distinct customer_sk) filter (customer_sk <> -1) as customers,
    sum(coalesce(gross, 0)) as gross_sales_amount, sum(coalesce(back, 0)) as return_amount,
    sum(coalesce(gross, 0)) - sum(coalesce(back, 0)) as net_sales_amount,
    sum(coalesce(profit, 0)) as net_profit_amount,
    (sum(coalesce(profit, 0)) / nullif(sum(coalesce(gross, 0)) - sum(coalesce(back, 0)), 0))::decimal(18, 4)
        as net_margin_ratio
from moves where date is not null group by 1, 2;

create or replace table mart_customer_lifetime_value as
select
    customer_sk, min(sold_date) as first_sold_date, max(sold_date) as last_sold_date,
    count(distinct (sales_channel, order_number)) filter (gross is not null) as orders,
    sum(coalesce(gross, 0)) as gross_sales_amount, sum(coalesce(back, 0)) as return_amount,
    sum(coalesce(gross, 0)) - sum(coalesce(back, 0)) as net_sales_amount,
    sum(coalesce(profit, 0)) as net_profit_amount
from (
    select customer_sk, null as sales_channel, null as order_number, null::date as sold_date,
        null::decimal(38, 2) as gross, null::decimal(38, 2) as back, null::decimal(38, 2) as profit
    from dim_customers
    union all
    select customer_sk, sales_channel, order_number, sold_date, coalesce(gross_sales_amount, 0), 0, net_profit_amount
    from fct_sales
    union all
    select customer_sk, null, null, null, null, return_amount, -net_loss_amount from fct_returns
)
group by customer_sk;

create or replace table mart_customer_cohorts as
with dated as (
    select *, date_trunc('month', sold_date)::date as month,
        date_trunc('month', min(sold_date) over (partition by customer_sk))::date as cohort_month
    from fct_sales where sold_date is not null and customer_sk <> -1
)
select
    cohort_month, date_diff('month', cohort_month, month) as months_since_first_sale,
    count(distinct customer_sk) as customers, count(distinct (sales_channel, order_number)) as orders,
    sum(coalesce(gross_sales_amount, 0)) as gross_sales_amount
from dated group by 1, 2;

create or replace table fct_promotion_performance as
select
    promotion_sk, any_value(promotion_name) as promotion_name,
    any_value(start_date) as start_date, any_value(end_date) as end_date,
    any_value(promotion_cost) as promotion_cost, count(sale_key) as sale_lines,
    count(distinct (sales_channel, order_number)) filter (sale_key is not null) as orders,
    count(distinct customer_sk) filter (customer_sk <> -1) as customers,
    sum(coalesce(quantity, 0)) as quantity_sold, sum(coalesce(gross_sales_amount, 0)) as gross_sales_amount,
    sum(coalesce(discount_amount, 0)) as discount_amount, sum(coalesce(coupon_amount, 0)) as coupon_amount,
    sum(coalesce(return_amount, 0)) as return_amount, sum(coalesce(net_profit_amount, 0)) as net_profit_amount
from dim_promotions
full outer join fct_sales using (promotion_sk)
group by promotion_sk;
