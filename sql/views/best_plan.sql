-- The cheapest plan that meets the objectives, for each model and workload; where none is priced, the fastest per device.
CREATE OR REPLACE VIEW best_plan AS
SELECT *
FROM capacity
WHERE batch_slo > 0
QUALIFY row_number() OVER (
    PARTITION BY model, workload
    ORDER BY usd_per_mtok_output NULLS LAST, output_tokens_per_s / device_count DESC,
             device_count, accelerator, weights, kv, engine, tp, pp, ep, dp
) = 1;
