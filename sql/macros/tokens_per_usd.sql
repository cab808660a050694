-- Output tokens that a dollar buys at the operating batch, for every priced plan of one model and workload; most first.
CREATE OR REPLACE MACRO tokens_per_usd(a_model, a_workload) AS TABLE
    SELECT accelerator, device_count, weights, kv, engine, tp, pp, ep, dp, batch,
           round(1e6 / usd_per_mtok_output)::BIGINT AS output_tokens_per_usd,
           batch_slo > 0 AS meets_objectives
    FROM capacity
    WHERE model = a_model AND workload = a_workload AND fits AND usd_per_mtok_output > 0
    ORDER BY output_tokens_per_usd DESC, accelerator, device_count, weights, kv, engine, tp, pp, ep, dp;
