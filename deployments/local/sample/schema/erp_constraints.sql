-- erp: added after the load, which is faster, and leaves the load's own `updated_at` alone.

create index on public.item (i_item_id);
create index on public.item (updated_at);
create trigger set_updated_at before insert or update on public.item
    for each row execute function sample.set_updated_at();

alter table public.promotion
    add foreign key (p_item_sk) references public.item,
    add foreign key (p_start_date_sk) references public.date_dim,
    add foreign key (p_end_date_sk) references public.date_dim;

alter table public.catalog_sales
    add foreign key (cs_sold_date_sk) references public.date_dim,
    add foreign key (cs_sold_time_sk) references public.time_dim,
    add foreign key (cs_ship_date_sk) references public.date_dim,
    add foreign key (cs_warehouse_sk) references public.warehouse,
    add foreign key (cs_item_sk) references public.item,
    add foreign key (cs_promo_sk) references public.promotion;
create index on public.catalog_sales (cs_order_number);
create index on public.catalog_sales (updated_at);
create trigger set_updated_at before insert or update on public.catalog_sales
    for each row execute function sample.set_updated_at();

alter table public.web_sales
    add foreign key (ws_sold_date_sk) references public.date_dim,
    add foreign key (ws_sold_time_sk) references public.time_dim,
    add foreign key (ws_ship_date_sk) references public.date_dim,
    add foreign key (ws_item_sk) references public.item,
    add foreign key (ws_warehouse_sk) references public.warehouse,
    add foreign key (ws_promo_sk) references public.promotion;
create index on public.web_sales (ws_order_number);
create index on public.web_sales (updated_at);
create trigger set_updated_at before insert or update on public.web_sales
    for each row execute function sample.set_updated_at();
