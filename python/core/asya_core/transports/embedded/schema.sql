-- The whole state of the embedded transport: queues and the messages in them. Applied once, in one transaction, to a new file.
-- Times are seconds of the machine's monotonic clock (see clock.py beside this file), so that setting the wall clock moves nothing.

-- One row: which boot of the machine the times in `message` belong to.
--   id         identity of the boot; '' where the system has none
--   offset     wall clock minus monotonic clock when the file was last opened
--   opened_at  monotonic clock at that moment
CREATE TABLE boot(only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL, offset REAL NOT NULL, opened_at REAL NOT NULL);

--   dead_letter  takes what is rejected or delivered too often; no reference, it may be made later
CREATE TABLE queue(name TEXT PRIMARY KEY, dead_letter TEXT, max_deliveries INTEGER NOT NULL);

--   origin      the queue that gave the message up, if it was dead-lettered
--   visible_at  0: ready; else not to be handed over before: a delayed retry (receipt is null) or one in somebody's hands (receipt is not)
--   deliveries  handings-over so far
--   receipt     random; whoever knows it holds the message
CREATE TABLE message(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL REFERENCES queue(name),
    body BLOB NOT NULL,
    origin TEXT,
    visible_at REAL NOT NULL DEFAULT 0,
    deliveries INTEGER NOT NULL DEFAULT 0,
    receipt TEXT
);

-- Serves receive, next_due and depth; without it each receive would read the whole queue.
CREATE INDEX message_ready ON message(queue, visible_at, seq);
