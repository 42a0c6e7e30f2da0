-- How good the sound of calls was, by the E-model: the mean opinion score of
-- what came from the peer and of what went to it, over the call and at its
-- worst.
ALTER TABLE records ADD COLUMN mos_average REAL;
ALTER TABLE records ADD COLUMN mos_min REAL;
ALTER TABLE records ADD COLUMN remote_mos_average REAL;
ALTER TABLE records ADD COLUMN remote_mos_min REAL;
