ALTER TABLE envelopes ADD COLUMN siblings BIGINT;
