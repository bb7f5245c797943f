-- What the CSV loader's role needs on Snowflake, and nothing else. Run once by an account
-- administrator; replace FLOE (database), LOADING (warehouse) and the public key.
-- The loader looks before it creates, so it needs no right to create schemas once these are there.

create database if not exists FLOE;
create warehouse if not exists LOADING with
    warehouse_size = xsmall auto_suspend = 60 auto_resume = true initially_suspended = true;
create role if not exists FLOE_LOADER;

create schema if not exists FLOE.OPS;
create schema if not exists FLOE.RAW_FILES;
create schema if not exists FLOE.OPS_STAGING;
create stage if not exists FLOE.OPS_STAGING.CSV_LOADER;

grant usage on warehouse LOADING to role FLOE_LOADER;
grant usage on database FLOE to role FLOE_LOADER;

-- The ledger, and the datasets' tables: the loader makes them and so owns them.
grant usage, create table on schema FLOE.OPS to role FLOE_LOADER;
grant usage, create table on schema FLOE.RAW_FILES to role FLOE_LOADER;

-- Staging tables, made and dropped with each load; PUT and PURGE write to the stage, COPY reads it.
grant usage, create table on schema FLOE.OPS_STAGING to role FLOE_LOADER;
grant read, write on stage FLOE.OPS_STAGING.CSV_LOADER to role FLOE_LOADER;

-- A contract with a `schema_name` of its own:
-- create schema if not exists FLOE.<schema>;
-- grant usage, create table on schema FLOE.<schema> to role FLOE_LOADER;

-- dbt and the dashboards' status read what the loader writes.
-- grant usage on schema FLOE.RAW_FILES to role <dbt's role>;
-- grant select on future tables in schema FLOE.RAW_FILES to role <dbt's role>;

-- A service user has no password. Two keys can be set, so that one is rotated while the other works.
create user if not exists FLOE_LOADER
    type = service
    default_role = FLOE_LOADER
    default_warehouse = LOADING
    rsa_public_key = '<the public key, without its first and last line>';
grant role FLOE_LOADER to user FLOE_LOADER;
