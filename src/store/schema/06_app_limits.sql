-- Limits of an app of its own; NULL: those of the configuration.

ALTER TABLE apps ADD COLUMN max_calls INTEGER;
ALTER TABLE apps ADD COLUMN max_calls_per_second INTEGER;
