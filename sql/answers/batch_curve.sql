-- What does a larger batch buy, and what does it cost in latency?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $device_count: only plans of this many devices
-- $limit: rows at most (default: 20)
-- Over the batches of the grid, one plan for each model, workload and accelerator: the cheapest that meets the objectives,
-- else the fastest.
WITH chosen AS (
    SELECT model, weights, kv, engine, accelerator, device_count, tp, pp, ep, dp, workload
    FROM plans($model, $accelerator, $engine, $weights, $workload, some_devices := $device_count)
    WHERE batch_max > 0
    QUALIFY row_number() OVER (
        PARTITION BY model, workload, accelerator
        ORDER BY batch_slo > 0 DESC, usd_per_mtok_output NULLS LAST, output_tokens_per_s / device_count DESC,
                 device_count, weights, kv, engine, tp, pp, ep, dp
    ) = 1
)
SELECT model, workload, accelerator, device_count, weights, engine, batch,
       round(output_tokens_per_s::DOUBLE, 1)    AS output_tokens_per_s,
       round(1e3 * estimates.ttft_s, 1)         AS ttft_ms,
       round(1e3 * estimates.tpot_s, 2)         AS tpot_ms,
       round(vram_bytes / 1e9, 1)               AS memory_gb,
       round(usd_per_mtok_output::DOUBLE, 3)    AS usd_per_mtok_output
FROM estimates JOIN chosen USING (model, weights, kv, engine, accelerator, device_count, tp, pp, ep, dp, workload)
WHERE fits
ORDER BY model, workload, accelerator, batch
LIMIT $limit::BIGINT
