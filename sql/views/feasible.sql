-- Plans that hold at least one sequence of their workload.
CREATE OR REPLACE VIEW feasible AS
SELECT *
FROM capacity
WHERE batch_max > 0;
