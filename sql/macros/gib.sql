-- Bytes as GiB (2^30 bytes), the unit that drivers and engines print.
CREATE OR REPLACE MACRO gib(some_bytes) AS some_bytes / 1073741824.0;
