-- How far are the case study's closed forms from the detailed estimates?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- Median of simple / detailed at the operating batch, over plans of one device, 16-bit weights and KV cache:
-- what the simple forms are about.
SELECT model, accelerator, engine,
       round(median(simple_vram_bytes / vram_bytes), 2)                                   AS memory_ratio,
       round(median(simple_ttft_s::DOUBLE / ttft_s), 2)                                   AS ttft_ratio,
       round(median(simple_tpot_s::DOUBLE / tpot_s), 2)                                   AS tpot_ratio,
       round(median(simple_batch_max / nullif(batch_max, 0)), 2)                          AS batch_max_ratio,
       count(*)                                                                           AS plans
FROM plans($model, $accelerator, $engine, NULL, $workload)
WHERE fits AND device_count = 1 AND weights IN ('bf16', 'fp16') AND kv IN ('bf16', 'fp16')
GROUP BY ALL
ORDER BY model, accelerator, engine
LIMIT $limit::BIGINT
