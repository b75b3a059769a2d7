CREATE TABLE envelopes (
    id TEXT PRIMARY KEY,
    parent_id TEXT,
    tool TEXT,
    flow TEXT,
    owner TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    actor TEXT,
    hop INTEGER NOT NULL,
    route TEXT NOT NULL,
    progress INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    message TEXT,
    published_at INTEGER,
    next_publish_at INTEGER,
    publish_attempts INTEGER NOT NULL,
    result TEXT,
    result_ref TEXT,
    error TEXT,
    error_code TEXT,
    children INTEGER,
    children_done INTEGER NOT NULL,
    children_failed INTEGER NOT NULL,
    replay_of TEXT,
    replayed_as TEXT,
    cancel_no INTEGER,
    idempotency_key TEXT,
    request_hash TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deadline_at INTEGER NOT NULL,
    finished_at INTEGER
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
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT,
    hop INTEGER,
    attempt INTEGER,
    data TEXT,
    PRIMARY KEY (envelope_id, seq)
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counters (name, value) VALUES ('cancel', 0);
