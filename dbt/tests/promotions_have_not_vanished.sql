-- An empty or half-loaded source must not enter the history as a delete of most promotions.
{{ vanished(ref('int_promotions_tracked'), 'snp_promotions', 'promotion_sk', handful=5) }}
