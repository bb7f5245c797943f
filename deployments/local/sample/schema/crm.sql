-- crm: who the customers are. Columns and types are those of DuckDB's dsdgen; NOT NULL as in the TPC-DS
-- specification (https://www.tpc.org/tpcds/, section 2). `updated_at` stands on the tables that change.

create table public.income_band (
    ib_income_band_sk bigint not null,
    ib_lower_bound bigint,
    ib_upper_bound integer,
    primary key (ib_income_band_sk)
);

create table public.household_demographics (
    hd_demo_sk bigint not null,
    hd_income_band_sk bigint,
    hd_buy_potential varchar,
    hd_dep_count bigint,
    hd_vehicle_count integer,
    primary key (hd_demo_sk)
);

create table public.customer_demographics (
    cd_demo_sk bigint not null,
    cd_gender varchar,
    cd_marital_status varchar,
    cd_education_status varchar,
    cd_purchase_estimate bigint,
    cd_credit_rating varchar,
    cd_dep_count bigint,
    cd_dep_employed_count bigint,
    cd_dep_college_count integer,
    primary key (cd_demo_sk)
);

create table public.customer_address (
    ca_address_sk bigint not null,
    ca_address_id varchar not null,
    ca_street_number varchar,
    ca_street_name varchar,
    ca_street_type varchar,
    ca_suite_number varchar,
    ca_city varchar,
    ca_county varchar,
    ca_state varchar,
    ca_zip varchar,
    ca_country varchar,
    ca_gmt_offset numeric(5,2),
    ca_location_type varchar,
    updated_at timestamptz not null,
    primary key (ca_address_sk)
);

create table public.customer (
    c_customer_sk bigint not null,
    c_customer_id varchar not null,
    c_current_cdemo_sk bigint,
    c_current_hdemo_sk bigint,
    c_current_addr_sk bigint,
    c_first_shipto_date_sk bigint,
    c_first_sales_date_sk bigint,
    c_salutation varchar,
    c_first_name varchar,
    c_last_name varchar,
    c_preferred_cust_flag varchar,
    c_birth_day bigint,
    c_birth_month bigint,
    c_birth_year bigint,
    c_birth_country varchar,
    c_login varchar,
    c_email_address varchar,
    c_last_review_date_sk integer,
    updated_at timestamptz not null,
    primary key (c_customer_sk)
);
