-- Another application on the same pools: it moves connections between clients and leaves its settings wherever it may.
\set n random(1, 1000)
SET TimeZone = 'Pacific/Chatham';
SET search_path = nowhere;
SET DateStyle = 'German';
SELECT :n + 1;
BEGIN;
SELECT set_config('work_mem', '77kB', false), pg_sleep(0.001);
COMMIT;
