-- A database with everything that a discovery can stumble over. Expectations: test_discover.py.

create function stamp() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;

-- Composite key, maintained and indexed change time.
create table order_line (
    order_id bigint, line int, amount numeric(9,2), updated_at timestamptz not null default now(),
    created_at timestamptz not null default now(), primary key (order_id, line)
);
create index on order_line (updated_at);
create trigger stamp before insert or update on order_line for each row execute function stamp();
insert into order_line values (1, 1, 9.99), (1, 2, 0.01), (2, 1, null);

-- Mixed case, quotes, spaces, unicode, reserved words.
create table "Order" (
    "Id" int primary key, "Select" text, "UpdatedAt" timestamptz not null default now(), "on" boolean
);
insert into "Order" values (1, 'x', now(), true);
create index on "Order" ("UpdatedAt") where "on";
create index on "Order" ("Id", "UpdatedAt");
create table "null" ("yes" uuid primary key default gen_random_uuid(), "true" jsonb, "1" text);
insert into "null" ("1") values ('one');
create table "it's: a ""table"" [ü] #1 – 日本" ("the key: %s" int primary key, "naïve ""col""" text);
insert into "it's: a ""table"" [ü] #1 – 日本" values (1, 'é'), (2, null);
create table "two
lines" ("a	b" int primary key);
insert into "two
lines" values (7);

-- Types.
create type mood as enum ('sad', 'happy');
create domain moment as timestamptz not null;
create table typed (
    id int primary key, m mood, tags text[], modified moment default now(),
    net numeric(9,2), gross numeric(9,2) generated always as (net * 2) stored, flags int[][]
);
insert into typed (id, m, tags, net, flags) values
    (1, 'happy', array['a', 'b,"c'], 1.5, array[array[1, 2], array[3, 4]]), (2, null, null, null, null);
create table computed (
    id int primary key, data date,
    updated_on date generated always as (data) stored
);

-- Cursors of every kind.
create table growing (id bigint generated always as identity primary key, what text);
create table daily (id int primary key, last_modified date not null);
insert into daily values (1, '2024-01-01'), (2, '2024-01-02');
create table local_time (id int primary key, modified_at timestamp not null, changed_on date not null);
create table only_created (id int primary key, created_at timestamptz not null default now(), born date);
create table other_times (id int primary key, shipped_at timestamptz, password_changed_at timestamptz);
create table late_filled (id int primary key, updated_at timestamptz);
insert into late_filled select i, case when i % 4 = 0 then now() end from generate_series(1, 100) i;
create table epochs (id int primary key, updated_at bigint not null, modified int);
create table no_cursor_types (
    id uuid primary key default gen_random_uuid(), updated boolean, modified json, changed_at text
);

-- Triggers that count, and triggers that do not.
create function keep_created() returns trigger language plpgsql as $$
begin
    -- new.ts := now();
    new.made := old.made;
    return new;
end
$$;
create table kept (id int primary key, made timestamptz, ts timestamptz);
create trigger keep before update on kept for each row execute function keep_created();
create function sets_ts() returns trigger language plpgsql as $$
begin
    NEW."TS" = clock_timestamp();
    return NEW;
end
$$;
create table by_trigger (id int primary key, "TS" timestamptz, note text);
create trigger always before insert or update on by_trigger for each row execute function sets_ts();
insert into by_trigger values (1, null, 'a');
create table disabled_trigger (id int primary key, "TS" timestamptz);
create trigger never before insert or update on disabled_trigger for each row execute function sets_ts();
alter table disabled_trigger disable trigger never;
create function sets_closed() returns trigger language plpgsql as $$
begin
    if new.state = 'closed' then new.closed_at := now(); end if;
    return new;
end
$$;
create table ticket (id int primary key, state text, closed_at timestamptz);
create trigger closes before insert or update on ticket for each row execute function sets_closed();
create sequence versions;
create function next_version() returns trigger language plpgsql as $$
begin
    new.version := nextval('versions');
    return new;
end
$$;
create function count_version() returns trigger language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end
$$;
create table versioned (id int primary key, version bigint not null);
create trigger v before insert or update on versioned for each row execute function next_version();
create table counted (id int primary key, version int not null default 0);
create trigger v before update on counted for each row execute function count_version();
create function stamp_argument() returns trigger language plpgsql as $$
begin
    new := new #= hstore(tg_argv[0], now()::text);
    return new;
end
$$;
create table by_argument (id int primary key, "änderung" timestamptz not null default now());
create trigger generic before update on by_argument for each row execute function stamp_argument('änderung');

-- Keys.
create table no_key (what text, updated_at timestamptz not null default now());
insert into no_key values ('twice', '2024-01-01'), ('twice', '2024-01-01');
create table unique_only (code text not null, region text not null, updated_at timestamptz not null);
create unique index on unique_only (region, code);
create unique index on unique_only (code) include (updated_at);
insert into unique_only values ('a', 'x', now());
create table not_quite (code text unique, low text not null, part int not null);
create unique index on not_quite (lower(low));
create unique index on not_quite (part) where part > 0;
create table replica (a int not null unique, b int not null, c int not null);
create unique index replica_identity on replica (b, c);
alter table replica replica identity using index replica_identity;

-- Partitions, two levels deep; inheritance of the old kind.
create table measured (at date not null, id int not null, updated_at timestamptz not null, primary key (at, id))
    partition by range (at);
create table measured_2023 partition of measured for values from ('2023-01-01') to ('2024-01-01');
create table measured_2024 partition of measured for values from ('2024-01-01') to ('2025-01-01')
    partition by hash (id);
create table measured_2024_0 partition of measured_2024 for values with (modulus 2, remainder 0);
create table measured_2024_1 partition of measured_2024 for values with (modulus 2, remainder 1);
create index on measured (updated_at);
create trigger stamp before insert or update on measured for each row execute function stamp();
insert into measured values ('2023-05-05', 1, now()), ('2024-05-05', 1, now()), ('2024-05-05', 2, now());
create table animal (id int primary key, name text);
create table dog (bark text) inherits (animal);
insert into animal values (1, 'ant');
insert into dog values (1, 'rex', 'loud');

-- Not tables.
create view order_view as select * from order_line;
create materialized view order_sums as select order_id, count(*) from order_line group by 1;
create foreign data wrapper nowhere;
create server nowhere foreign data wrapper nowhere;
create foreign table far (id int) server nowhere;
create table no_column ();
create temp table passing (id int primary key);

-- Other schemas: the same name twice, and names that warehouses take for the same.
create schema hr;
create schema "Sales Data";
create table hr.order_line (id int primary key, updated_at timestamptz not null default now());
insert into hr.order_line values (1);
create table "Sales Data"."Item" (id int primary key, updated_at timestamptz not null default now());
insert into "Sales Data"."Item" values (1), (2);
create table "Sales Data".item (id int primary key);
create schema "HR";
create table "HR".order_line (id int primary key);
create table "a_name_of_exactly_sixty_three_bytes_that_is_as_long_as_one_can_be" (id int primary key);
create table "A_NAME_OF_EXACTLY_SIXTY_THREE_BYTES_THAT_IS_AS_LONG_AS_ONE_CAN_BE" (id int primary key);
create table case_columns (id int primary key, "Note" text, note text, _airbyte_meta text);
insert into case_columns values (1, 'kept', 'lost', 'lost');
create table case_key ("Id" int, id int, primary key (id, "Id"));
create table __floe_repairs_x (id int primary key);

-- Privileges.
create schema closed;
create table closed.secret (id int primary key);
create table salaries (id int primary key, amount int);
create table tenants (id int primary key, tenant text);
alter table tenants enable row level security;
