-- Does it fit, and on how few devices?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $batch: sequences that must fit at once (default: 1)
-- $limit: rows at most (default: 20)
-- Memory is per device at that batch. 'safe': also at the cautious end of the memory band. Where nothing fits: the nearest plan.
WITH needs AS (
    SELECT *, weight_bytes + activation_bytes + overhead_bytes + $batch::BIGINT * sequence_bytes AS needed_bytes,
           batch_max >= $batch::BIGINT AS holds
    FROM plans($model, $accelerator, $engine, $weights, $workload)
)
SELECT model, workload, accelerator, weights,
       CASE WHEN batch_max_lo >= $batch::BIGINT THEN 'safe' WHEN holds THEN 'just' ELSE 'no' END AS fit,
       device_count, kv, engine,
       round(needed_bytes / 1e9, 1)        AS memory_gb,
       round(device_memory_bytes / 1e9, 1) AS device_gb
FROM needs
QUALIFY row_number() OVER (
    PARTITION BY model, workload, accelerator, weights
    ORDER BY holds DESC, if(holds, device_count, 0), needed_bytes, device_count, engine, kv, tp, pp, ep, dp
) = 1
ORDER BY holds DESC, device_count, needed_bytes / device_memory_bytes DESC, model, workload, accelerator, weights
LIMIT $limit::BIGINT
