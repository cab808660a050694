-- Which plans write the most tokens per second at one batch?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $batch: sequences in flight; the largest batch of the grid up to it is taken (default: 32)
-- $limit: rows at most (default: 20)
-- One row per model, workload, accelerator and number of devices: its fastest plan there, whether it meets the objectives or not.
SELECT model, workload, accelerator, device_count, batch,
       round(output_tokens_per_s::DOUBLE, 1)                 AS output_tokens_per_s,
       round(output_tokens_per_s::DOUBLE / device_count, 1)  AS tokens_per_s_per_device,
       weights, kv, engine,
       round(1e3 * plans.ttft_s, 1)                         AS ttft_ms,
       round(1e3 * plans.tpot_s, 2)                         AS tpot_ms
FROM plans($model, $accelerator, $engine, $weights, $workload, a_table := 'estimates') AS plans
WHERE fits AND batch = (SELECT max(batch) FROM estimates WHERE batch <= $batch::BIGINT)
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator, device_count
    ORDER BY plans.output_tokens_per_s DESC, weights, kv, engine, tp, pp, ep, dp
) = 1
ORDER BY model, workload, tokens_per_s_per_device DESC, accelerator, device_count
LIMIT $limit::BIGINT
