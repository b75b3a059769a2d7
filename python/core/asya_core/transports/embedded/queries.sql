-- Every statement that the embedded transport executes.
-- Grammar: "-- name: <name>" begins a statement, comment lines that follow say what it is for, then one statement up to the semicolon.
-- Parameters are named (":queue"). statements.py reads this file; an unknown or repeated name is an error at import.

-- name: insert
-- Puts a message into a queue. No row if there is no such queue: the publish is returned.
INSERT INTO message(queue, body) SELECT name, :body FROM queue WHERE name = :queue;

-- name: receive
-- Takes up to :limit messages: first those whose time has come (retries, holders that died), then fresh ones in order of arrival. The old ones
-- go first because under steady load fresh ones never run out; attempts are bounded, so they cannot starve the fresh ones.
UPDATE message
SET receipt = lower(hex(randomblob(12))), visible_at = :now + :visibility, deliveries = deliveries + 1
WHERE seq IN (
    SELECT seq FROM (SELECT seq FROM message WHERE queue = :queue AND visible_at > 0 AND visible_at <= :now ORDER BY visible_at LIMIT :limit)
    UNION ALL
    SELECT seq FROM (SELECT seq FROM message WHERE queue = :queue AND visible_at = 0 ORDER BY seq LIMIT :limit)
    LIMIT :limit
)
RETURNING seq, receipt, body, deliveries, origin;

-- name: next_due
-- When the next message of a queue that is not ready now becomes so; null if there is none.
SELECT min(visible_at) FROM message WHERE queue = :queue AND visible_at > :now;

-- name: queue
-- What a queue is like; no row if there is none.
SELECT dead_letter, max_deliveries FROM queue WHERE name = :queue;

-- name: ack
-- The message is done. No effect unless the receipt still holds it.
DELETE FROM message WHERE seq = :seq AND receipt = :receipt;

-- name: requeue
-- Gives a message back untouched: ready at once, this delivery does not count.
UPDATE message SET receipt = NULL, visible_at = 0, deliveries = deliveries - 1 WHERE seq = :seq AND receipt = :receipt;

-- name: release
-- Gives a message back when its holder closes: ready at once, this delivery counts, as the holder may have worked on it.
UPDATE message SET receipt = NULL, visible_at = 0 WHERE seq = :seq AND receipt = :receipt;

-- name: retry
-- Gives a message back for later.
UPDATE message SET receipt = NULL, visible_at = :visible_at WHERE seq = :seq AND receipt = :receipt;

-- name: dead_letter
-- Moves a message to the dead-letter queue of its queue, if both exist. The move starts its count of deliveries anew.
UPDATE message
SET origin = queue, queue = (SELECT dead_letter FROM queue WHERE name = message.queue), receipt = NULL, visible_at = 0, deliveries = 0
WHERE seq = :seq AND receipt = :receipt
  AND EXISTS (SELECT 1 FROM queue source JOIN queue target ON target.name = source.dead_letter WHERE source.name = message.queue)
RETURNING queue;

-- name: renew
-- Keeps a message in its holder's hands.
UPDATE message SET visible_at = :visible_at WHERE seq = :seq AND receipt = :receipt;

-- name: data_version
-- A number that changes when another connection has committed; far cheaper than looking into the queue.
PRAGMA data_version;

-- name: insert_queue
-- Makes a queue unless there is one of this name.
INSERT INTO queue(name, dead_letter, max_deliveries) VALUES (:queue, :dead_letter, :max_deliveries) ON CONFLICT DO NOTHING;

-- name: depth
-- Ready and unsettled messages of a queue. A holder whose time is over holds nothing.
SELECT count(*) FILTER (WHERE receipt IS NULL OR visible_at <= :now), count(*) FILTER (WHERE receipt IS NOT NULL AND visible_at > :now)
FROM message WHERE queue = :queue;

-- name: delete_queue
-- Deletes a queue that holds nothing.
DELETE FROM queue WHERE name = :queue AND NOT EXISTS (SELECT 1 FROM message WHERE message.queue = :queue);

-- name: purge
-- Drops what is ready in a queue.
DELETE FROM message WHERE queue = :queue AND (receipt IS NULL OR visible_at <= :now);

-- name: peek
-- Bodies of ready messages in order of arrival.
SELECT body FROM message WHERE queue = :queue AND (receipt IS NULL OR visible_at <= :now) ORDER BY seq LIMIT :limit;

-- name: boot
-- Which boot of the machine the times in the file belong to.
SELECT id, offset, opened_at FROM boot;

-- name: set_boot
-- The times in the file belong to this boot now.
INSERT INTO boot(only, id, offset, opened_at) VALUES (1, :id, :offset, :now)
ON CONFLICT(only) DO UPDATE SET id = excluded.id, offset = excluded.offset, opened_at = excluded.opened_at;

-- name: release_all
-- After a boot: nobody who held a message lives.
UPDATE message SET receipt = NULL, visible_at = 0 WHERE receipt IS NOT NULL;

-- name: shift_delays
-- After a boot: delayed retries keep the wall-clock time at which they are due.
UPDATE message SET visible_at = max(0, visible_at + :shift) WHERE visible_at > 0;
