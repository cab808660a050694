-- Which plan meets the latency objectives at the lowest cost?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $ttft_s: objective of the time to first token, in seconds, instead of the workload's
-- $tpot_s: objective of the time between output tokens, in seconds, instead of the workload's
-- $limit: rows at most (default: 20)
-- One row per model, workload and accelerator. Own objectives are searched over the batches of the grid.
WITH candidates AS (
    SELECT model, workload, accelerator, device_count, weights, kv, engine, tp, pp, ep, dp, batch, ttft_s, tpot_s, usd_per_mtok_output
    FROM plans($model, $accelerator, $engine, $weights, $workload)
    WHERE batch_slo > 0
    UNION ALL
    SELECT model, workload, accelerator, device_count, weights, kv, engine, tp, pp, ep, dp, batch, ttft_s, tpot_s, usd_per_mtok_output
    FROM plans($model, $accelerator, $engine, $weights, $workload, a_table := 'estimates')
    WHERE fits AND ($ttft_s IS NOT NULL OR $tpot_s IS NOT NULL)
)
SELECT model, workload, accelerator,
       round(usd_per_mtok_output::DOUBLE, 3) AS usd_per_mtok_output,
       device_count, weights, kv, engine, batch,
       round(1e3 * candidates.ttft_s, 1)     AS ttft_ms,
       round(1e3 * candidates.tpot_s, 2)     AS tpot_ms
FROM candidates JOIN workloads USING (workload)
WHERE candidates.ttft_s <= coalesce($ttft_s::DOUBLE, ttft_slo_s)
  AND candidates.tpot_s <= coalesce($tpot_s::DOUBLE, tpot_slo_s)
  AND usd_per_mtok_output IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator
    ORDER BY candidates.usd_per_mtok_output, device_count, batch, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY candidates.usd_per_mtok_output, model, workload, accelerator
LIMIT $limit::BIGINT
