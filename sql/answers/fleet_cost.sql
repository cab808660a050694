-- What do fleets cost per token, per request and per month, and what do they emit?
-- $model: only this model
-- $accelerator: only this accelerator
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- The bill is split over read, cached and written tokens by the time that each takes; usd_per_mtok_output carries all of it.
SELECT model, workload, accelerator, weights, engine, replicas, devices,
       round(usd_per_month::DOUBLE, 0)              AS usd_per_month,
       round(usd_per_mtok_output::DOUBLE, 3)        AS usd_per_mtok_output,
       round(split_usd_per_mtok_input::DOUBLE, 3)   AS split_usd_per_mtok_input,
       round(split_usd_per_mtok_cached::DOUBLE, 3)  AS split_usd_per_mtok_cached,
       round(split_usd_per_mtok_output::DOUBLE, 3)  AS split_usd_per_mtok_output,
       round(1e3 * usd_per_request::DOUBLE, 4)      AS usd_per_1000_requests,
       round(energy_kwh_per_mtok::DOUBLE, 3)        AS energy_kwh_per_mtok,
       round(co2e_kg_per_mtok::DOUBLE, 3)           AS co2e_kg_per_mtok
FROM plans($model, $accelerator, NULL, NULL, $workload, a_table := 'fleet') AS plans
WHERE usd_per_hour IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY model, workload, prompt_tokens, output_tokens, ttft_slo_s, tpot_slo_s, accelerator
    ORDER BY plans.usd_per_hour, devices, device_count, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY model, workload, plans.usd_per_month, accelerator
LIMIT $limit::BIGINT
