-- Which fleet carries a demand within its p95 objectives, at the lowest cost?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $requests_per_s: rate to carry, instead of the demand's
-- $headroom: share added to that rate (default: 0.1)
-- $spare: spare replicas (default: 1)
-- $limit: rows at most (default: 20)
-- Of the demands that the run's grid states. Replicas are rounded up before the cheapest plan of each accelerator is chosen.
WITH sized AS (
    SELECT *,
           greatest(1, ceil(coalesce($requests_per_s::DOUBLE, demand_requests_per_s) * (1 + $headroom::DOUBLE) / slo_requests_per_s - 1e-6))::BIGINT
               + $spare::BIGINT AS sized_replicas
    FROM plans($model, $accelerator, $engine, $weights, $workload, a_table := 'fleet')
)
SELECT model, workload, prompt_tokens, output_tokens,
       round(coalesce($requests_per_s::DOUBLE, demand_requests_per_s), 3) AS requests_per_s,
       accelerator, weights, engine, device_count,
       sized_replicas AS replicas,
       sized_replicas * device_count AS devices,
       round((sized_replicas * device_count * device_usd_per_hour)::DOUBLE, 2) AS usd_per_hour,
       round(slo_requests_per_s::DOUBLE, 3) AS slo_requests_per_s,
       load_verdict, confidence
FROM sized
QUALIFY row_number() OVER (
    PARTITION BY model, workload, prompt_tokens, output_tokens, ttft_slo_s, tpot_slo_s, accelerator
    ORDER BY sized_replicas * device_count * device_usd_per_hour NULLS LAST, sized_replicas * device_count, device_count, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY model, workload, prompt_tokens, sized_replicas * device_count * device_usd_per_hour NULLS LAST, devices, accelerator
LIMIT $limit::BIGINT
