-- +goose Up

-- Times are seconds since 1970 UTC; next_at and paused_until, by which work is timed, are
-- milliseconds. Codes (states, evidence, fields) are numbers because a backlog has tens of
-- millions of tasks; view task_list shows them in words.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE states (
  code INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO states VALUES (0,'pending'),(1,'previewed'),(2,'submitting'),(3,'waiting'),(4,'verifying'),
  (5,'held'),(6,'erased'),(7,'not_found'),(8,'skipped'),(9,'failed');

CREATE TABLE transitions (
  old INTEGER NOT NULL REFERENCES states(code),
  new INTEGER NOT NULL REFERENCES states(code),
  PRIMARY KEY (old, new)
) STRICT, WITHOUT ROWID;
INSERT INTO transitions VALUES
  (0,0),(0,1),(0,2),(0,5),(0,6),(0,7),(0,9),
  (1,0),(1,1),(1,2),(1,5),(1,6),(1,7),(1,9),
  (2,0),(2,3),(2,4),(2,5),(2,9),
  (3,0),(3,3),(3,4),(3,5),(3,6),(3,9),
  (4,0),(4,4),(4,5),(4,6),(4,9),
  (5,0),(5,3),(5,4),(5,6),(5,9),
  (9,6);

-- One row per configured vendor account that has ever had tasks. fields: the bit set of
-- the subject's fields that the vendor needs until its task is final.
CREATE TABLE vendors (
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL UNIQUE,
  kind         TEXT NOT NULL,
  fields       INTEGER NOT NULL,
  paused_until INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row per input file taken in. A batch in loading was cut short and counts for nothing.
CREATE TABLE batches (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  digest     BLOB,
  taken_at   INTEGER NOT NULL,
  loading    INTEGER NOT NULL DEFAULT 1 CHECK (loading IN (0,1)),
  rows       INTEGER NOT NULL DEFAULT 0,
  subjects   INTEGER NOT NULL DEFAULT 0,
  invalid    INTEGER NOT NULL DEFAULT 0,
  duplicates INTEGER NOT NULL DEFAULT 0,
  first_subject INTEGER NOT NULL,
  last_subject  INTEGER NOT NULL DEFAULT 0,
  purged     INTEGER NOT NULL DEFAULT 0, -- subjects dropped by a purge
  purged_rejects INTEGER NOT NULL DEFAULT 0,
  done       INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0,1)), -- nothing of it is open any more
  CHECK (loading OR rows = subjects + invalid + duplicates)
) STRICT;

-- sealed: the subject's fields, AES-256-GCM, bound to this row; identifiers that no open
-- task needs any more are in it only in their masked form. content: keyed digest of the
-- identifiers, by which the same subject_id with other identifiers is told.
CREATE TABLE subjects (
  id          INTEGER PRIMARY KEY,
  batch       INTEGER NOT NULL REFERENCES batches(id),
  line        INTEGER NOT NULL,
  subject_id  TEXT NOT NULL CHECK (subject_id <> ''),
  content     INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  due_at      INTEGER NOT NULL,
  shape       INTEGER NOT NULL,
  sealed      BLOB NOT NULL
) STRICT;

-- The subject ids of all batches. A table and not an index of subjects, so that a batch
-- is merged into it in sorted order, after its load.
CREATE TABLE subject_ids (
  subject_id TEXT PRIMARY KEY,
  subject    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A shape is the list of tasks that a subject leads to; subjects with the same vendors and
-- identifiers share one, and intake fans out by joining with it.
CREATE TABLE shapes (
  shape  INTEGER NOT NULL,
  n      INTEGER NOT NULL CHECK (n BETWEEN 0 AND 999),
  vendor INTEGER NOT NULL REFERENCES vendors(id),
  identifier INTEGER NOT NULL,
  state  INTEGER NOT NULL REFERENCES states(code),
  reason TEXT,
  PRIMARY KEY (shape, n)
) STRICT, WITHOUT ROWID;

-- A task's id is its subject's id x 1000 + its place among the subject's tasks: the tasks
-- of a subject are neighbours and need no index of their own, and the order of ids is the
-- order of the report.
-- identifier: which of the subject's: the field + 100 x which of its values, from 0.
-- next_at: NULL not scheduled (final, held, waiting on people, follows another task);
-- 0 ready now, by due date; otherwise the time at which it is looked at next.
-- more: what few tasks have, as JSON: leads (others follow this one), attempts, uncertain,
-- lost, message, hint, approval.
CREATE TABLE tasks (
  id            INTEGER PRIMARY KEY,
  vendor        INTEGER NOT NULL,
  identifier    INTEGER NOT NULL,
  state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 9),
  due_at        INTEGER NOT NULL,
  next_at       INTEGER,
  evidence      INTEGER NOT NULL DEFAULT 0 CHECK (evidence BETWEEN 0 AND 3),
  follows       INTEGER,
  records       INTEGER,
  records_after INTEGER,
  record_refs   ANY, -- as reference
  reference     ANY, -- a UUID as 16 bytes, a number as an integer, else the text
  reason        TEXT,
  more          TEXT CHECK (more IS NULL OR json_valid(more)),
  previewed_at  INTEGER,
  submitted_at  INTEGER,
  completed_at  INTEGER,
  verified_at   INTEGER,
  CHECK ((state >= 6) = (completed_at IS NOT NULL)),
  CHECK (state < 5 OR next_at IS NULL),
  CHECK ((state = 6) = (evidence <> 0)),
  CHECK (evidence <> 1 OR verified_at IS NOT NULL),
  CHECK (follows IS NULL OR next_at IS NULL),
  CHECK (state <> 2 OR submitted_at IS NOT NULL)
) STRICT;

-- The work list of a vendor: what is ready, most urgent first. Not an index of tasks, which
-- would be most of the work of an intake, and of each task's first change: it names blocks,
-- the tasks of a thousand subjects in a row (block = task id / 1000000), in which some are
-- ready and due within an hour (due_at / 3600), and counts them. A block is gone through for
-- the tasks themselves. Every change is counted here by triggers, but for the tasks that an
-- intake makes: it counts those itself, by the thousand.
CREATE TABLE ready (
  vendor INTEGER NOT NULL,
  hour   INTEGER NOT NULL,
  block  INTEGER NOT NULL,
  tasks  INTEGER NOT NULL CHECK (tasks > 0),
  PRIMARY KEY (vendor, hour, block)
) STRICT, WITHOUT ROWID;
-- +goose StatementBegin
CREATE TRIGGER tasks_ready AFTER UPDATE OF next_at, due_at ON tasks
WHEN NEW.next_at = 0 AND (OLD.next_at IS NOT 0 OR NEW.due_at / 3600 <> OLD.due_at / 3600)
BEGIN
  INSERT INTO ready VALUES (NEW.vendor, NEW.due_at / 3600, NEW.id / 1000000, 1) ON CONFLICT DO UPDATE SET tasks = tasks + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tasks_not_ready AFTER UPDATE OF next_at, due_at ON tasks
WHEN OLD.next_at = 0 AND (NEW.next_at IS NOT 0 OR NEW.due_at / 3600 <> OLD.due_at / 3600)
BEGIN
  DELETE FROM ready WHERE vendor = OLD.vendor AND hour = OLD.due_at / 3600 AND block = OLD.id / 1000000 AND tasks = 1;
  UPDATE ready SET tasks = tasks - 1 WHERE vendor = OLD.vendor AND hour = OLD.due_at / 3600 AND block = OLD.id / 1000000;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tasks_gone AFTER DELETE ON tasks WHEN OLD.next_at = 0
BEGIN
  DELETE FROM ready WHERE vendor = OLD.vendor AND hour = OLD.due_at / 3600 AND block = OLD.id / 1000000 AND tasks = 1;
  UPDATE ready SET tasks = tasks - 1 WHERE vendor = OLD.vendor AND hour = OLD.due_at / 3600 AND block = OLD.id / 1000000;
END;
-- +goose StatementEnd

-- What is due at a time.
CREATE INDEX tasks_due   ON tasks (vendor, next_at) WHERE next_at > 0;
CREATE INDEX tasks_held  ON tasks (vendor) WHERE state = 5;
CREATE INDEX tasks_follow ON tasks (follows) WHERE follows IS NOT NULL;
-- +goose StatementBegin
CREATE TRIGGER tasks_move BEFORE UPDATE OF state ON tasks
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE old = OLD.state AND new = NEW.state)
BEGIN
  SELECT RAISE(ABORT, 'this transition is not in the table');
END;
-- +goose StatementEnd

-- References that were replaced by a later submission: none that a vendor gave is lost.
CREATE TABLE former_references (
  task        INTEGER NOT NULL,
  reference   ANY NOT NULL,
  replaced_at INTEGER NOT NULL,
  PRIMARY KEY (task, reference)
) STRICT, WITHOUT ROWID;

-- Input rows that never became tasks.
CREATE TABLE rejects (
  batch      INTEGER NOT NULL REFERENCES batches(id),
  line       INTEGER NOT NULL,
  subject_id TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('invalid','duplicate')),
  reason     TEXT NOT NULL,
  message    TEXT NOT NULL,
  PRIMARY KEY (batch, line)
) STRICT, WITHOUT ROWID;

-- What people decided: reviews, confirmations, extensions.
CREATE TABLE decisions (
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  action  TEXT NOT NULL CHECK (action IN ('approve','reject','confirm','extend')),
  subject INTEGER NOT NULL,
  task    INTEGER,
  reason  TEXT,
  note    TEXT,
  until   INTEGER
) STRICT;

-- Requests sent, per vendor and slot of ten minutes, for limits per rolling 24 hours.
CREATE TABLE quota (
  vendor INTEGER NOT NULL REFERENCES vendors(id),
  slot   INTEGER NOT NULL,
  used   INTEGER NOT NULL,
  PRIMARY KEY (vendor, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id         INTEGER PRIMARY KEY,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER,
  exit_code  INTEGER,
  version    TEXT NOT NULL,
  config     BLOB NOT NULL
) STRICT;

-- What a vendor hands out about a task's person before it is removed: one row per task that
-- an export was asked for, none where exports are off. It outlives the task's own work, for
-- it needs nothing of the subject but the job's reference.
-- state: 0 creating (the job is asked for, perhaps not yet made), 1 waiting (the vendor has
-- a job), 2 ready (the vendor says done), 3 stored, 4 empty, 5 failed.
-- next_at: when it is looked at next; NULL: nobody looks by itself (final, or the task's own
-- work does).
CREATE TABLE exports (
  task       INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
  vendor     INTEGER NOT NULL REFERENCES vendors(id),
  state      INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
  next_at    INTEGER,
  attempts   INTEGER NOT NULL DEFAULT 0,
  lost       INTEGER NOT NULL DEFAULT 0, -- jobs that the vendor lost or that failed
  damaged    INTEGER NOT NULL DEFAULT 0, -- results that were no zip
  reference  TEXT,
  created_at INTEGER, -- the vendor accepted the present job
  done_at    INTEGER, -- first seen done
  ended_at   INTEGER,
  file       TEXT,
  bytes      INTEGER,
  sha256     TEXT,
  files      INTEGER,
  lines      INTEGER,
  reason     TEXT,
  message    TEXT,
  CHECK ((state >= 3) = (ended_at IS NOT NULL)),
  CHECK (state < 3 OR next_at IS NULL),
  CHECK (state NOT IN (1,2) OR reference IS NOT NULL AND created_at IS NOT NULL AND next_at IS NOT NULL),
  CHECK (state <> 2 OR done_at IS NOT NULL),
  CHECK ((state = 3) = (file IS NOT NULL AND bytes > 0 AND length(sha256) = 64)),
  CHECK ((state = 5) = (reason IS NOT NULL))
) STRICT;

CREATE INDEX exports_due ON exports (vendor, next_at) WHERE next_at IS NOT NULL;

-- +goose StatementBegin
CREATE TRIGGER exports_final BEFORE UPDATE ON exports WHEN OLD.state >= 3
BEGIN
  SELECT RAISE(ABORT, 'this export has ended');
END;
-- +goose StatementEnd

-- Jobs that were replaced by a later one. Not in former_references: those are of removals,
-- and can be confirmed.
CREATE TABLE former_exports (
  task        INTEGER NOT NULL REFERENCES exports(task) ON DELETE CASCADE,
  reference   TEXT NOT NULL,
  replaced_at INTEGER NOT NULL,
  PRIMARY KEY (task, reference)
) STRICT, WITHOUT ROWID;

-- The references that vendors gave, also those that were replaced, as they wrote them.
CREATE VIEW reference_list AS
SELECT r.task, v.name AS vendor, CASE typeof(r.reference) WHEN 'blob' THEN lower(format('%s-%s-%s-%s-%s',
    hex(substr(r.reference,1,4)), hex(substr(r.reference,5,2)), hex(substr(r.reference,7,2)), hex(substr(r.reference,9,2)),
    hex(substr(r.reference,11)))) ELSE CAST(r.reference AS TEXT) END AS reference, r.replaced_at
FROM (SELECT id AS task, vendor, reference, NULL AS replaced_at FROM tasks WHERE reference IS NOT NULL
  UNION ALL SELECT f.task, t.vendor, f.reference, f.replaced_at FROM former_references f JOIN tasks t ON t.id = f.task) r
JOIN vendors v ON v.id = r.vendor;

CREATE VIEW task_list AS
SELECT t.id, s.subject_id, s.batch, s.line, v.name AS vendor, st.name AS state, t.reason, coalesce(t.more ->> 'attempts', 0) AS attempts,
  (SELECT reference FROM reference_list WHERE task = t.id AND replaced_at IS NULL) AS reference,
  t.records, t.records_after, t.record_refs,
  datetime(t.due_at, 'unixepoch') AS due_at,
  datetime(nullif(t.next_at, 0)/1000, 'unixepoch') AS next_at,
  datetime(t.submitted_at, 'unixepoch') AS submitted_at,
  datetime(t.completed_at, 'unixepoch') AS completed_at
FROM tasks t JOIN subjects s ON s.id = t.id/1000 JOIN vendors v ON v.id = t.vendor JOIN states st ON st.code = t.state;
