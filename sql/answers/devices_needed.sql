-- How many devices does a request rate need, and what do they cost?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $requests_per_s: requests that arrive in a second (default: 10)
-- $limit: rows at most (default: 20)
-- Replicas are rounded up before the cheapest plan of each accelerator is chosen; every plan meets the workload's objectives.
WITH fleets AS (
    SELECT *, greatest(1, ceil($requests_per_s::DOUBLE / requests_per_s))::BIGINT AS replicas
    FROM plans($model, $accelerator, $engine, $weights, $workload)
    WHERE batch_slo > 0
)
SELECT model, workload, accelerator,
       replicas * device_count                             AS devices,
       round((replicas * usd_per_hour)::DOUBLE, 2)         AS usd_per_hour,
       replicas, device_count, weights, kv, engine, batch,
       round($requests_per_s::DOUBLE / (replicas * requests_per_s), 2) AS utilisation_ratio
FROM fleets
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator
    ORDER BY replicas * fleets.usd_per_hour NULLS LAST, replicas * device_count, device_count, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY replicas * fleets.usd_per_hour NULLS LAST, devices, model, workload, accelerator
LIMIT $limit::BIGINT
