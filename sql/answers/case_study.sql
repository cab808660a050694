-- What did the Llama-7B case study predict, and what was measured?
-- grid: case-study
-- The article's closed forms and the detailed estimates, each fitted over the batches as the article fits its measurements.
WITH curve AS (
    SELECT *
    FROM estimates
    WHERE model = 'llama-7b-article' AND accelerator = 'a100-article' AND weights = 'fp16' AND kv IN ('fp16', 'bf16')
      AND engine = 'transformers' AND workload = 'case-study' AND device_count = 1
), answers AS (
    SELECT *
    FROM capacity
    WHERE model = 'llama-7b-article' AND accelerator = 'a100-article' AND weights = 'fp16' AND kv IN ('fp16', 'bf16')
      AND engine = 'transformers' AND workload = 'case-study' AND device_count = 1
), measured AS (
    SELECT quantity, value
    FROM measurements
    WHERE model = 'llama-7b-article' AND accelerator = 'a100-article' AND engine = 'transformers' AND workload = 'case-study'
), rows AS (
    SELECT 1 AS line, 'VRAM slope' AS quantity, 'MB per batch' AS unit,
           printf('%.4g', regr_slope(simple_vram_bytes, batch) / 1e6) AS predicted_by_article,
           printf('%.4g', regr_slope(vram_bytes, batch) / 1e6) AS estimated,
           (SELECT printf('%.4g', any_value(value) / 1e6) FROM measured WHERE quantity = 'vram_bytes_slope') AS measured
    FROM curve
    UNION ALL
    SELECT 2, 'TTFT slope', 'ms per batch',
           printf('%.4g', regr_slope(simple_ttft_s, batch) * 1e3),
           printf('%.4g', regr_slope(ttft_s, batch) * 1e3),
           (SELECT printf('%.4g', any_value(value) * 1e3) FROM measured WHERE quantity = 'ttft_s_slope')
    FROM curve
    UNION ALL
    SELECT 3, 'TTFT intercept', 'ms',
           printf('%.4g', regr_intercept(simple_ttft_s, batch) * 1e3),
           printf('%.4g', regr_intercept(ttft_s, batch) * 1e3),
           (SELECT printf('%.4g', any_value(value) * 1e3) FROM measured WHERE quantity = 'ttft_s_intercept')
    FROM curve
    UNION ALL
    SELECT 4, 'TPOT at batch 1', 'ms', printf('%.4g', any_value(simple_tpot_s) * 1e3), printf('%.4g', any_value(tpot_s) * 1e3), NULL
    FROM curve
    WHERE batch = 1
    UNION ALL
    SELECT 5, 'largest batch', 'sequences', any_value(simple_batch_max)::VARCHAR, any_value(batch_max)::VARCHAR,
           (SELECT printf('below %.4g', any_value(value)) FROM measured WHERE quantity = 'oom_batch')
    FROM answers
    UNION ALL
    SELECT 6, 'out of memory at batch 200', 'yes or no',
           if(any_value(simple_vram_bytes) > any_value(device_memory_bytes), 'yes', 'no'),
           if(any_value(fits), 'no', 'yes'),
           (SELECT if(any_value(value) <= 200, 'yes', 'no') FROM measured WHERE quantity = 'oom_batch')
    FROM curve
    WHERE batch = 200
)
SELECT quantity, predicted_by_article, estimated, measured, unit
FROM rows
ORDER BY line
