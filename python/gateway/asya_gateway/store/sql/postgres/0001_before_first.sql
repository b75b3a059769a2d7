CREATE TABLE envelopes (
    id TEXT PRIMARY KEY,
    parent_id TEXT,
    tool TEXT,
    flow TEXT,
    owner TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    actor TEXT,
    hop BIGINT NOT NULL,
    route TEXT NOT NULL,
    progress BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    message TEXT,
    published_at BIGINT,
    next_publish_at BIGINT,
    publish_attempts BIGINT NOT NULL,
    result TEXT,
    result_ref TEXT,
    error TEXT,
    error_code TEXT,
    children BIGINT,
    children_done BIGINT NOT NULL,
    children_failed BIGINT NOT NULL,
    replay_of TEXT,
    replayed_as TEXT,
    cancel_no BIGINT,
    idempotency_key TEXT,
    request_hash TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE UNIQUE INDEX envelopes_idempotency ON envelopes (owner, tool, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX envelopes_created ON envelopes (created_at, id);
CREATE INDEX envelopes_parent ON envelopes (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX envelopes_outbox ON envelopes (next_publish_at) WHERE published_at IS NULL;
CREATE INDEX envelopes_open ON envelopes (deadline_at) WHERE status IN ('pending', 'running');
CREATE INDEX envelopes_finished ON envelopes (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX envelopes_cancelled ON envelopes (cancel_no) WHERE cancel_no IS NOT NULL;
CREATE TABLE events (
    envelope_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT,
    hop BIGINT,
    attempt BIGINT,
    data TEXT,
    PRIMARY KEY (envelope_id, seq)
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counters (name, value) VALUES ('cancel', 0);
