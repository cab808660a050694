-- Where does a device's memory go?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $device_count: only plans of this many devices
-- $limit: rows at most (default: 20)
-- Per device, at the operating batch, for the fastest parallel plan; what fits comes first.
-- total_gb_high is the upper end of the 80 % band.
SELECT model, workload, accelerator, device_count, weights, kv, engine, batch,
       round(weight_bytes / 1e9, 1)               AS weights_gb,
       round(activation_bytes / 1e9, 1)           AS activations_gb,
       round(overhead_bytes / 1e9, 1)             AS overhead_gb,
       round(batch * sequence_bytes / 1e9, 1)     AS sequences_gb,
       round(vram_bytes / 1e9, 1)                 AS total_gb,
       round(vram_bytes_hi / 1e9, 1)              AS total_gb_high,
       round(device_memory_bytes / 1e9, 1)        AS device_gb
FROM plans($model, $accelerator, $engine, $weights, $workload, some_devices := $device_count)
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator, device_count, weights, kv, engine
    ORDER BY fits DESC, output_tokens_per_s DESC, tp, pp, ep, dp
) = 1
ORDER BY model, workload, accelerator, fits DESC, device_count, weights, kv, engine
LIMIT $limit::BIGINT
