-- A small made-up company: 2,000 sales of two years, 60 customers, 30 items, 2 warehouses.

insert into marts.dim_dates by name
select
    (day - date '1990-01-01') as date_sk, day as date, cast(date_trunc('week', day) as date) as week_start_date,
    cast(date_trunc('month', day) as date) as month_start_date, year(day) as year
from (select cast(range as date) as day from range(date '2001-01-01', date '2003-12-31', interval 1 day));

insert into marts.dim_items by name
select
    range as item_sk, 'ITEM' || range as item_id, 'Product ' || range as product_name,
    ['Books', 'Music', 'Shoes'][1 + range % 3] as category, 'Brand ' || range % 4 as brand,
    (3 + range / 7.0) as wholesale_cost, date '2000-01-01' as valid_from, true as is_current
from range(1, 31);

insert into marts.dim_warehouses by name
select range as warehouse_sk, 'Warehouse ' || range as warehouse_name from range(1, 3);

insert into marts.dim_customers by name
select
    range as customer_sk, 'C' || lpad(cast(range as varchar), 6, '0') as customer_id, 'Ada' as first_name,
    'Number ' || range as last_name, ['CA', 'NY', 'TX', 'WA'][1 + range % 4] as state,
    ['Good', 'Low Risk'][1 + range % 2] as credit_rating, range % 3 = 0 as is_preferred_customer,
    ['College', 'Primary', null][1 + range % 3] as education_status, range = 40 as is_deleted
from range(1, 61)
union all by name
select -1 as customer_sk, 'UNKNOWN' as customer_id, false as is_deleted;

insert into marts.dim_customers_history by name
select
    customer_sk || '-' || version as customer_version_key, customer_sk,
    case when version = 0 and customer_sk % 4 = 1 then 'OR' else state end as state,
    case when version = 0 and customer_sk % 5 = 0 then 'High Risk' else credit_rating end as credit_rating,
    case when version = 0 then timestamp '1900-01-01' else timestamp '2002-11-05 08:00:00' + to_days(customer_sk)
    end as valid_from,
    version = 1 or customer_sk % 2 = 0 as is_current, is_deleted and version = 0 as is_deleted
from marts.dim_customers, (select range as version from range(2))
where customer_sk <> -1 and (version = 0 or customer_sk % 2 = 1);

insert into marts.fct_sales by name
select
    md5(cast(range as varchar)) as sale_key, ['catalog', 'web'][1 + range % 2] as sales_channel,
    range // 3 as order_number, 1 + range * 7 % 30 as item_sk,
    case when range % 50 = 0 then -1 else 1 + range * 11 % 58 end as customer_sk, 1 + range % 2 as warehouse_sk,
    case when range % 97 <> 0 then date '2001-03-05' + cast(range * 13 % 660 as integer) end as sold_date,
    1 + range % 9 as quantity, cast(10 + range % 83 * 1.37 as decimal(38, 2)) as gross_sales_amount,
    cast(9 + range % 71 * 1.11 as decimal(38, 2)) as wholesale_amount,
    cast(8 + range % 83 * 1.29 as decimal(38, 2)) as net_paid_amount,
    cast(range % 7 - 3 as decimal(38, 2)) as net_profit_amount, timestamp '2003-01-02 00:00:00' as updated_at
from range(2000);

insert into marts.fct_returns by name
select
    md5('r' || sale_key) as return_key, sale_key, sales_channel, order_number, item_sk, customer_sk,
    sold_date + 20 as returned_date, 1 as return_quantity,
    cast(gross_sales_amount / 2 as decimal(38, 2)) as return_amount
from marts.fct_sales
where order_number % 12 = 0;

insert into marts.fct_weekly_sales_inventory by name
with sold as (
    select warehouse_sk, item_sk, cast(date_trunc('week', sold_date) as date) as week_start_date,
        sum(quantity) as quantity_sold, sum(gross_sales_amount) as gross_sales_amount
    from marts.fct_sales where sold_date is not null group by all
)
select
    w.warehouse_sk, i.item_sk, weeks.week as week_start_date, coalesce(sold.quantity_sold, 0) as quantity_sold,
    coalesce(sold.gross_sales_amount, 0) as gross_sales_amount,
    (i.item_sk * 5 + week_number * 3 + w.warehouse_sk) % 17 as quantity_on_hand,
    (i.item_sk * 5 + week_number * 3 + w.warehouse_sk) % 17 / nullif(sold.quantity_sold, 0) as weeks_of_supply,
    (i.item_sk * 5 + week_number * 3 + w.warehouse_sk) % 17 < coalesce(sold.quantity_sold, 0) as is_low_stock,
    weeks.week = date '2002-12-30' as is_partial_week
from marts.dim_warehouses as w
cross join marts.dim_items as i
cross join
    (select date '2001-12-31' + cast(range * 7 as integer) as week, range as week_number from range(53)) as weeks
left join sold
    on sold.warehouse_sk = w.warehouse_sk and sold.item_sk = i.item_sk and sold.week_start_date = weeks.week;

insert into marts.fct_inventory_weekly by name
select warehouse_sk, item_sk, week_start_date, week_start_date + 3 as counted_date, quantity_on_hand
from marts.fct_weekly_sales_inventory;
