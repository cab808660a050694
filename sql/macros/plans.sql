-- Plans narrowed by what is not NULL: of `capacity`, or of another table whose rows are plans too.
CREATE OR REPLACE MACRO plans(
    a_model, an_accelerator, an_engine, some_weights, a_workload, some_devices := NULL, a_table := 'capacity'
) AS TABLE
    FROM query_table(a_table)
    WHERE (a_model IS NULL OR model = a_model)
      AND (an_accelerator IS NULL OR accelerator = an_accelerator)
      AND (an_engine IS NULL OR engine = an_engine)
      AND (some_weights IS NULL OR weights = some_weights)
      AND (a_workload IS NULL OR workload = a_workload)
      AND (some_devices IS NULL OR device_count = some_devices);
