-- An empty or half-loaded source must not enter the history as a delete of most customers.
{{ vanished(ref('int_customers_tracked'), 'snp_customers', 'customer_sk') }}
