-- Largest batch before running out of memory, for every plan of one model on one accelerator.
CREATE OR REPLACE MACRO max_batch(a_model, an_accelerator) AS TABLE
    SELECT workload, device_count, tp, pp, ep, dp, weights, kv, engine,
           batch_max, batch_max_lo, batch_slo, batch_max_usd_per_mtok_output
    FROM capacity
    WHERE model = a_model AND accelerator = an_accelerator
    ORDER BY workload, device_count, batch_max DESC, weights, kv, engine, tp, pp, ep, dp;
