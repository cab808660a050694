-- Which plan writes a token with the least energy?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- One row per model, workload and accelerator: the plan that meets the objectives with the fewest joules per output token.
SELECT model, workload, accelerator,
       round(energy_j_per_token::DOUBLE, 3)         AS energy_j_per_token,
       round(energy_j_per_token::DOUBLE / 3.6, 3)   AS kwh_per_mtok_output,
       round(power_w::DOUBLE, 0)                    AS power_w,
       device_count, weights, kv, engine, batch,
       round(1e3 * plans.tpot_s, 2)                 AS tpot_ms
FROM plans($model, $accelerator, $engine, $weights, $workload) AS plans
WHERE batch_slo > 0 AND energy_j_per_token IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator
    ORDER BY plans.energy_j_per_token, device_count, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY model, workload, plans.energy_j_per_token, accelerator
LIMIT $limit::BIGINT
