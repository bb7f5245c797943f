"""TPC-DS queries over the raw layer, and over the marts: the same questions, asked of other tables."""

from __future__ import annotations

# The queries that use none but the sample's tables.
QUERIES = (2, 12, 15, 18, 20, 21, 22, 26, 30, 32, 37, 39, 40, 41, 45, 72, 81, 86, 92)

# What the generator's own answers are compared with, on marts that carry what the query asks for.
ON_MARTS = {
    2: """
        with sold as (
            select fiscal_week, sum(gross_sales_amount) filter (day_name = 'Sunday') as sun,
                sum(gross_sales_amount) filter (day_name = 'Monday') as mon,
                sum(gross_sales_amount) filter (day_name = 'Tuesday') as tue,
                sum(gross_sales_amount) filter (day_name = 'Wednesday') as wed,
                sum(gross_sales_amount) filter (day_name = 'Thursday') as thu,
                sum(gross_sales_amount) filter (day_name = 'Friday') as fri,
                sum(gross_sales_amount) filter (day_name = 'Saturday') as sat
            from fct_sales inner join dim_dates on date = sold_date group by 1
        )
        select this.fiscal_week, round(this.sun / next.sun, 2) as r1, round(this.mon / next.mon, 2) as r2,
            round(this.tue / next.tue, 2) as r3, round(this.wed / next.wed, 2) as r4,
            round(this.thu / next.thu, 2) as r5, round(this.fri / next.fri, 2) as r6,
            round(this.sat / next.sat, 2)
        from sold as this
        inner join dim_dates as year_of_this
            on year_of_this.fiscal_week = this.fiscal_week and year_of_this.year = 2001
        inner join sold as next on next.fiscal_week = this.fiscal_week + 53
        inner join dim_dates as year_of_next
            on year_of_next.fiscal_week = next.fiscal_week and year_of_next.year = 2002
        order by 1 nulls first, r1, r2, r3, r4, r5, r6
    """,
    12: """
        select item_id, item_description, category, class, current_price,
            sum(gross_sales_amount) as revenue,
            sum(gross_sales_amount) * 100.0000
                / sum(sum(gross_sales_amount)) over (partition by class) as share
        from fct_sales inner join dim_items using (item_sk)
        where sales_channel = 'web' and category in ('Sports', 'Books', 'Home')
            and sold_date between '1999-02-22' and '1999-03-24'
        group by 1, 2, 3, 4, 5
    """,
    15: """
        select zip_code, sum(sales_price)
        from fct_sales inner join dim_customers using (customer_sk)
        inner join dim_dates on date = sold_date
        where sales_channel = 'catalog' and address_sk is not null and quarter_name = '2001Q2'
            and (zip_code[:5] in ('85669', '86197', '88274', '83405', '86475', '85392', '85460', '80348',
                    '81792')
                or state in ('CA', 'WA', 'GA') or sales_price > 500)
        group by 1
    """,
    20: """
        select item_id, item_description, category, class, current_price,
            sum(gross_sales_amount) as revenue,
            sum(gross_sales_amount) * 100.0000
                / sum(sum(gross_sales_amount)) over (partition by class) as share
        from fct_sales inner join dim_items using (item_sk)
        where sales_channel = 'catalog' and category in ('Sports', 'Books', 'Home')
            and sold_date between '1999-02-22' and '1999-03-24'
        group by 1, 2, 3, 4, 5
    """,
    21: """
        select warehouse_name, item_id,
            sum(case when counted_date < '2000-03-11' then quantity_on_hand else 0 end) as before,
            sum(case when counted_date >= '2000-03-11' then quantity_on_hand else 0 end) as after
        from fct_inventory_weekly
        inner join dim_items using (item_sk) inner join dim_warehouses using (warehouse_sk)
        where current_price between 0.99 and 1.49 and counted_date between '2000-02-10' and '2000-04-10'
        group by 1, 2
        having before > 0 and after / before between 2.000 / 3.000 and 3.000 / 2.000
    """,
    22: """
        select product_name, brand, class, category, avg(quantity_on_hand) as on_hand
        from fct_inventory_weekly
        inner join dim_items using (item_sk) inner join dim_dates on date = counted_date
        where year = 2000
        group by rollup (product_name, brand, class, category)
        order by on_hand nulls first, product_name nulls first, brand nulls first, class nulls first,
            category nulls first
        limit 100
    """,
    45: """
        select zip_code, city, sum(sales_price)
        from fct_sales inner join dim_customers using (customer_sk) inner join dim_items using (item_sk)
        inner join dim_dates on date = sold_date
        where sales_channel = 'web' and address_sk is not null and quarter_name = '2001Q2'
            and (zip_code[:5] in ('85669', '86197', '88274', '83405', '86475', '85392', '85460', '80348',
                    '81792')
                or item_id in (
                    select item_id from dim_items where item_sk in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)))
        group by 1, 2
    """,
    86: """
        select sum(net_paid_amount) as total, category, class, grouping(category) + grouping(class) as depth,
            rank() over (
                partition by grouping(category) + grouping(class),
                case when grouping(class) = 0 then category end
                order by sum(net_paid_amount) desc
            ) as place
        from fct_sales inner join dim_items using (item_sk) inner join dim_dates on date = sold_date
        where sales_channel = 'web' and year = 2000
        group by rollup (category, class)
    """,
}
