-- How sure are the estimates?
-- $model: only this model
-- $accelerator: only this accelerator
-- $engine: only this engine
-- $weights: only this number format of the weights
-- $workload: only this workload
-- $limit: rows at most (default: 20)
-- Median half-width of the 80 % band, as a share of the estimate, over plans that fit.
SELECT accelerator, engine, confidence,
       count(*)                                                                          AS plans,
       round(median((vram_bytes_hi - vram_bytes_lo) / (2.0 * vram_bytes)), 3)            AS memory_band_ratio,
       round(median((ttft_s_hi::DOUBLE - ttft_s_lo) / (2.0 * ttft_s)), 2)                AS ttft_band_ratio,
       round(median((tpot_s_hi::DOUBLE - tpot_s_lo) / (2.0 * tpot_s)), 2)                AS tpot_band_ratio
FROM plans($model, $accelerator, $engine, $weights, $workload)
WHERE fits
GROUP BY ALL
ORDER BY confidence, accelerator, engine
LIMIT $limit::BIGINT
