-- +goose Up

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
