-- crm: added after the load, which is faster, and leaves the load's own `updated_at` alone.

alter table public.household_demographics
    add foreign key (hd_income_band_sk) references public.income_band;

create index on public.customer_address (updated_at);
create trigger set_updated_at before insert or update on public.customer_address
    for each row execute function sample.set_updated_at();

alter table public.customer
    add foreign key (c_current_cdemo_sk) references public.customer_demographics,
    add foreign key (c_current_hdemo_sk) references public.household_demographics,
    add foreign key (c_current_addr_sk) references public.customer_address;
create index on public.customer (c_current_addr_sk);
create index on public.customer (updated_at);
create trigger set_updated_at before insert or update on public.customer
    for each row execute function sample.set_updated_at();
