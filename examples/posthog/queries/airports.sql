-- Airports by time zone.
SELECT tzone, count() AS airports FROM postgres_airports GROUP BY tzone ORDER BY tzone;

SELECT count() FROM postgres_airports WHERE alt > 1000;
