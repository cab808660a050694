-- What is the largest batch before running out of memory, and what does it cost?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $device_count: only plans of this many devices
-- $limit: rows at most (default: 20)
-- One row per plan shape and engine: the KV format and parallel plan that hold the most. Memory is per device, at that batch.
SELECT model, workload, accelerator, device_count, weights, kv, engine,
       batch_max,
       batch_max_lo                                    AS batch_safe,
       memory_risk,
       round((weight_bytes + activation_bytes + overhead_bytes + batch_max * sequence_bytes) / 1e9, 1) AS memory_gb,
       round(batch_max_usd_per_mtok_output::DOUBLE, 3) AS usd_per_mtok_output
FROM plans($model, $accelerator, $engine, $weights, $workload, some_devices := $device_count)
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator, device_count, weights, engine
    ORDER BY batch_max DESC, batch_max_usd_per_mtok_output NULLS LAST, kv, tp, pp, ep, dp
) = 1
ORDER BY batch_max_usd_per_mtok_output NULLS LAST, batch_max DESC,
         model, workload, accelerator, device_count, weights, engine
LIMIT $limit::BIGINT
