-- The sample's own time, one row per database. It stands still until somebody writes.
create schema sample;

create table sample.business_clock (now timestamptz not null);
create unique index one_row on sample.business_clock ((true));

-- What was generated here; `finished` turns true in the transaction that adds the constraints.
create table sample.generation (scale numeric not null, finished boolean not null);

-- The business days that the simulator has played in this database.
create table sample.played_day (day date primary key);

-- Keeps `updated_at`, whatever the statement said about it:
--   * the time in `floe.business_time`, where the transaction has set it (the simulator does);
--   * else the clock advances by one second, once per transaction, and every row that the
--     transaction writes gets that time: later than anything committed before. The clock's row stays
--     locked until the commit, so a later time is never committed before an earlier one.
-- An update that changes no column keeps the time it had: nothing changed, nothing is to be replicated.
create function sample.set_updated_at() returns trigger language plpgsql as $$
declare
    business_time text := nullif(current_setting('floe.business_time', true), '');
begin
    if tg_op = 'UPDATE' then
        new.updated_at := old.updated_at;
        if new is not distinct from old then
            return new;
        end if;
    end if;
    if business_time is null then
        update sample.business_clock as clock
        set now = clock.now + interval '1 second'
        returning clock.now::text into business_time;
        perform set_config('floe.business_time', business_time, true);
    end if;
    new.updated_at := business_time::timestamptz;
    return new;
end
$$;
