-- accounting: added after the load, which is faster, and leaves the load's own `updated_at` alone.

alter table public.catalog_returns
    add foreign key (cr_reason_sk) references public.reason;
create index on public.catalog_returns (cr_order_number);
create index on public.catalog_returns (updated_at);
create trigger set_updated_at before insert or update on public.catalog_returns
    for each row execute function sample.set_updated_at();

alter table public.web_returns
    add foreign key (wr_reason_sk) references public.reason;
create index on public.web_returns (wr_order_number);
create index on public.web_returns (updated_at);
create trigger set_updated_at before insert or update on public.web_returns
    for each row execute function sample.set_updated_at();
