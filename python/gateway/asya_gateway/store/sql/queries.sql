-- Every statement of the gateway, for SQLite (3.35 or later) and PostgreSQL alike.
--
-- Grammar: "-- name: x" begins statement x; lines with "--" explain it; ":name" is a parameter, "IN (:name[])" a list of them; what stands
-- in "/* postgres: … */" is in force on PostgreSQL only; "-- postgres: x" begins what PostgreSQL has in place of statement x, with all rows
-- of it as one JSON array, ":rows". Times are milliseconds since 1970. JSON is text, so that keys keep their order.
-- The guard "status IN ('pending', 'running')" is the table of asya_gateway/status.py; a test compares.

-- name: insert_envelope
-- One accepted call, or an envelope that was published by hand and is heard of. Gives what find_envelope does, and no row if its
-- idempotency key or id is there.
INSERT INTO envelopes (id, parent_id, tool, flow, owner, status, actor, hop, route, progress, seq, message, published_at, next_publish_at,
                       publish_attempts, children_done, children_failed, replay_of, idempotency_key, request_hash, created_at, updated_at,
                       deadline_at)
VALUES (:id, :parent_id, :tool, :flow, :owner, 'pending', NULL, :hop, :route, 0, 1, :message, :published_at, :next_publish_at,
        0, 0, 0, :replay_of, :idempotency_key, :request_hash, :now, :now, :deadline_at)
ON CONFLICT DO NOTHING
RETURNING id, parent_id, tool, flow, owner, status, actor, hop, route, progress, seq, published_at, publish_attempts, result, result_ref, error,
          children, children_done, children_failed, replay_of, replayed_as, request_hash, created_at, updated_at, deadline_at, finished_at;

-- name: insert_calls
-- Accepted calls without an idempotency key: nothing that is there can be in their way.
INSERT INTO envelopes (id, tool, flow, owner, status, hop, route, progress, seq, message, next_publish_at, publish_attempts, children_done,
                       children_failed, created_at, updated_at, deadline_at)
VALUES (:id, :tool, :flow, :owner, 'pending', 0, :route, 0, 1, :message, :next_publish_at, 0, 0, 0, :created_at, :created_at, :deadline_at);

-- postgres: insert_calls
-- One statement and one parameter for all of them: a way to the server per row costs more than the row.
INSERT INTO envelopes (id, tool, flow, owner, status, hop, route, progress, seq, message, next_publish_at, publish_attempts, children_done,
                       children_failed, created_at, updated_at, deadline_at)
SELECT id, tool, flow, owner, 'pending', 0, route, 0, 1, message, next_publish_at, 0, 0, 0, created_at, created_at, deadline_at
FROM json_populate_recordset(NULL::envelopes, CAST(:rows AS JSON));

-- name: read_message
SELECT message FROM envelopes WHERE id = :id;

-- name: mark_replayed
UPDATE envelopes SET replayed_as = :replayed_as WHERE id = :id;

-- name: claim_replay
UPDATE envelopes SET replayed_as = :replayed_as WHERE id = :id AND COALESCE(replayed_as, '') = :expected RETURNING id;

-- name: insert_event
INSERT INTO events (envelope_id, seq, at, kind, actor, hop, attempt, data)
VALUES (:envelope_id, :seq, :at, :kind, :actor, :hop, :attempt, :data);

-- name: insert_events
INSERT INTO events (envelope_id, seq, at, kind, actor, hop, attempt, data)
VALUES (:envelope_id, :seq, :at, :kind, :actor, :hop, :attempt, :data);

-- postgres: insert_events
INSERT INTO events (envelope_id, seq, at, kind, actor, hop, attempt, data)
SELECT envelope_id, seq, at, kind, actor, hop, attempt, data FROM json_populate_recordset(NULL::events, CAST(:rows AS JSON));

-- name: find_envelope
-- Without the message, which may be large and is nobody's business but the publisher's.
SELECT id, parent_id, tool, flow, owner, status, actor, hop, route, progress, seq, published_at, publish_attempts, result, result_ref, error,
       children, children_done, children_failed, replay_of, replayed_as, request_hash, created_at, updated_at, deadline_at, finished_at
FROM envelopes WHERE id = :id;

-- name: find_by_key
SELECT id, parent_id, tool, flow, owner, status, actor, hop, route, progress, seq, published_at, publish_attempts, result, result_ref, error,
       children, children_done, children_failed, replay_of, replayed_as, request_hash, created_at, updated_at, deadline_at, finished_at
FROM envelopes WHERE owner = :owner AND tool = :tool AND idempotency_key = :idempotency_key;

-- name: find_states
-- What a final report is measured against, without messages and results.
SELECT id, parent_id, tool, flow, owner, status, seq, route, hop, deadline_at FROM envelopes WHERE id IN (:ids[]);

-- name: sequence_numbers
-- For subscribers: did anything happen to these?
SELECT id, seq FROM envelopes WHERE id IN (:ids[]);

-- name: read_events
SELECT seq, at, kind, actor, hop, attempt, data FROM events WHERE envelope_id = :id AND seq > :after ORDER BY seq LIMIT :limit;

-- name: move_on
-- Progress. Never lowers the percentage; a final status absorbs it. Sidecars report on their own, in batches: what an earlier actor says may
-- come after what a later one said, and then does not move the envelope back.
UPDATE envelopes
SET seq = seq + 1, status = 'running', actor = CASE WHEN :hop >= hop THEN :actor ELSE actor END,
    route = CASE WHEN :hop >= hop THEN COALESCE(:route, route) ELSE route END, hop = CASE WHEN :hop >= hop THEN :hop ELSE hop END,
    progress = CASE WHEN progress < :progress THEN :progress ELSE progress END,
    updated_at = :now, published_at = COALESCE(published_at, :now)
WHERE id = :id AND status IN ('pending', 'running')
RETURNING seq, progress, route;

-- name: finish
-- Any final status. No row: another one stands already, or there is no such envelope.
UPDATE envelopes
SET seq = seq + 1, status = :status, progress = CASE WHEN :done THEN 100 ELSE progress END, actor = COALESCE(:actor, actor),
    result = :result, result_ref = :result_ref, error = :error, error_code = :error_code, cancel_no = :cancel_no, siblings = :siblings,
    updated_at = :now, finished_at = :now, published_at = COALESCE(published_at, :now)
WHERE id = :id AND status IN ('pending', 'running')
RETURNING seq, parent_id, owner, tool, flow, created_at;

-- name: late
-- A report that came after the end: told in the history, changes nothing.
UPDATE envelopes SET seq = seq + 1 WHERE id = :id RETURNING seq, status, progress, route;

-- name: late_progress
-- The same of progress. A route that it tells counts, unless a later actor told its own: routers change it, and the final report does not
-- name it.
UPDATE envelopes
SET seq = seq + 1, route = CASE WHEN :hop >= hop THEN COALESCE(:route, route) ELSE route END,
    hop = CASE WHEN CAST(:route AS TEXT) IS NOT NULL AND :hop >= hop THEN :hop ELSE hop END
WHERE id = :id
RETURNING seq, status, progress, route;

-- name: adopt
-- What a report knows of the envelope's parent, if it was not known.
UPDATE envelopes SET parent_id = :parent_id WHERE id = :id AND parent_id IS NULL;

-- name: count_child
-- One more child of this envelope is final.
UPDATE envelopes
SET children = :children, children_done = children_done + 1, children_failed = children_failed + :failed, updated_at = :now
WHERE id = :id AND (children IS NULL OR children = :children)
RETURNING status, children_done, children_failed;

-- name: count_late
-- A child that ended here before its final report came; its siblings' count is known now. No row: it was counted.
UPDATE envelopes SET siblings = :siblings WHERE id = :id AND siblings IS NULL RETURNING id;

-- name: child_sizes
-- The children that a list of :siblings items made in place of their parent.
SELECT COUNT(result) AS known, COALESCE(SUM(LENGTH(result)), 0) AS length FROM envelopes WHERE parent_id = :id AND siblings = :siblings;

-- name: child_results
SELECT id, result FROM envelopes WHERE parent_id = :id AND siblings = :siblings;

-- name: failed_children
SELECT id FROM envelopes WHERE parent_id = :id AND siblings = :siblings AND status <> 'succeeded' ORDER BY id LIMIT :limit;

-- name: open_parts
-- What came of these envelopes and has not ended.
SELECT id FROM envelopes WHERE parent_id IN (:ids[]) AND status IN ('pending', 'running') ORDER BY id LIMIT :limit;

-- name: next_cancel_number
-- The row stays locked until the commit, so that numbers follow commits and a reader's cursor misses none.
UPDATE counters SET value = value + 1 WHERE name = 'cancel' RETURNING value;

-- name: cancel_number
SELECT value FROM counters WHERE name = 'cancel';

-- name: cancelled_since
SELECT id, cancel_no FROM envelopes WHERE cancel_no > :cursor ORDER BY cancel_no LIMIT :limit;

-- name: claim_unpublished
-- The outbox: rows whose lease has ended.
UPDATE envelopes
SET next_publish_at = :lease_until, publish_attempts = publish_attempts + 1
WHERE id IN (SELECT id FROM envelopes WHERE published_at IS NULL AND status = 'pending' AND next_publish_at <= :now
             ORDER BY next_publish_at LIMIT :limit /* postgres: FOR UPDATE SKIP LOCKED */)
RETURNING id, route, hop, message, publish_attempts, created_at;

-- name: mark_published
UPDATE envelopes SET published_at = :now WHERE id IN (:ids[]) AND published_at IS NULL;

-- name: postpone
UPDATE envelopes SET next_publish_at = :at WHERE id = :id AND published_at IS NULL;

-- name: outbox
SELECT COUNT(*) AS waiting, MIN(created_at) AS oldest FROM envelopes WHERE published_at IS NULL AND status = 'pending';

-- name: overdue
SELECT id FROM envelopes WHERE status IN ('pending', 'running') AND deadline_at < :before ORDER BY deadline_at LIMIT :limit;

-- name: forgettable
SELECT id FROM envelopes
WHERE finished_at < :final_before AND (status <> 'failed' OR finished_at < :failed_before)
ORDER BY finished_at LIMIT :limit;

-- name: forget_events
DELETE FROM events WHERE envelope_id IN (:ids[]);

-- name: forget_envelopes
DELETE FROM envelopes WHERE id IN (:ids[]);

-- name: list_envelopes
-- Newest first; each filter is off when NULL. (:before_at, :before_id) is the place of the last one of the page before. Only the newest
-- :window that pass the other filters are searched for a text.
SELECT id, parent_id, tool, flow, owner, status, actor, hop, route, progress, seq, published_at, publish_attempts,
       CASE WHEN CAST(:brief AS BIGINT) = 1 THEN NULL ELSE result END AS result, result_ref, error,
       children, children_done, children_failed, replay_of, replayed_as, request_hash, created_at, updated_at, deadline_at, finished_at
FROM envelopes
WHERE id IN (
    SELECT id FROM envelopes
    WHERE (CAST(:owner AS TEXT) IS NULL OR owner = :owner)
      AND (CAST(:status AS TEXT) IS NULL OR status = :status)
      AND (CAST(:tool AS TEXT) IS NULL OR tool = :tool)
      AND (CAST(:flow AS TEXT) IS NULL OR flow = :flow)
      AND (CAST(:actor AS TEXT) IS NULL OR actor = :actor)
      AND (CAST(:parent AS TEXT) IS NULL OR parent_id = :parent)
      AND (CAST(:code AS TEXT) IS NULL OR error_code = :code)
      AND (CAST(:since AS BIGINT) IS NULL OR created_at >= :since)
      AND (CAST(:until AS BIGINT) IS NULL OR created_at < :until)
      AND (CAST(:before_at AS BIGINT) IS NULL OR created_at < :before_at OR (created_at = :before_at AND id < :before_id))
    ORDER BY created_at DESC, id DESC LIMIT :window
)
  AND (CAST(:text AS TEXT) IS NULL
       OR LOWER(id) LIKE :text ESCAPE '\'
       OR LOWER(COALESCE(actor, '')) LIKE :text ESCAPE '\'
       OR LOWER(COALESCE(error, '')) LIKE :text ESCAPE '\')
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: counts_by_actor
-- Where envelopes are: the actor that was heard of last, by status.
SELECT actor, status, COUNT(*) AS count FROM envelopes
WHERE actor IS NOT NULL AND updated_at >= :since AND (CAST(:owner AS TEXT) IS NULL OR owner = :owner)
GROUP BY actor, status ORDER BY actor, status;

-- name: ping
SELECT 1 AS one;
