{#
    Only for days that several files tell of is there a latest count to look for; sorting all is dear. The
    source stands here where it is read: DuckDB keeps a common table that is used twice, with every column.
#}
{% set days_delivered_again %}
    select inv_date_sk
    from {{ source('inventory_files', 'inventory') }}
    group by 1
    having min(_file_id) <> max(_file_id)
{% endset %}

with

delivered_once as (

    select * from {{ source('inventory_files', 'inventory') }}
    where inv_date_sk not in ({{ days_delivered_again }})

),

-- A count that is delivered again replaces the earlier one.
delivered_last as (

    select * from {{ source('inventory_files', 'inventory') }}
    where inv_date_sk in ({{ days_delivered_again }})
    qualify
        row_number() over (
            partition by inv_date_sk, inv_item_sk, inv_warehouse_sk
            order by _loaded_at desc, _file_id desc, _file_row desc
        ) = 1

),

latest as (

    select * from delivered_once
    union all
    select * from delivered_last

),

final as (

    select
        -- ids
        cast(inv_date_sk as bigint) as date_sk,
        cast(inv_item_sk as bigint) as item_sk,
        cast(inv_warehouse_sk as bigint) as warehouse_sk,
        cast(_file_id as varchar) as file_id,
        cast(_file_row as bigint) as file_row,

        -- numerics
        cast(inv_quantity_on_hand as bigint) as quantity_on_hand,

        -- timestamps
        {{ utc_timestamp('_loaded_at') }} as loaded_at
    from latest

)

select * from final
