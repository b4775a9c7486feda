-- +goose Up

-- What a person would tell of a request, one row per change that stands; not every step. It is
-- written in the transaction of the change itself, and never changed. Rows go with the subject
-- (purge), with a task (a file that is taken back), and with an intake that did not come to its end.
-- seq: given by the one writer, without a gap.
-- task: a task, or subject * 1000 + 999 for the subject itself; NULL: nobody's.
-- prev: the event before of the same task, for its first one the last of the subject's own.
-- event: 1 received, 2 added, 3 submitted, 4 held, 5 decided, 6 moved, 7 extended, 8 declined,
-- 9 erased, 10 not_found, 11 failed, 12 exported, 13 answered; of nobody: 20 batch, 21 run,
-- 22 purge, 23 key, 24 restart. evidence to verified_at: as in tasks, after the change; of
-- received and added, records is the number of marks and reference the shape.
-- body: what few events have, as JSON.
CREATE TABLE events (
  seq           INTEGER PRIMARY KEY,
  task          INTEGER,
  prev          INTEGER,
  at            INTEGER NOT NULL,
  event         INTEGER NOT NULL,
  evidence      INTEGER,
  reason        TEXT,
  records       INTEGER,
  records_after INTEGER,
  reference     ANY,
  submitted_at  INTEGER,
  completed_at  INTEGER,
  verified_at   INTEGER,
  body          TEXT CHECK (body IS NULL OR json_valid(body)),
  CHECK (prev < seq)
) STRICT;

-- The last event of the task, and the last of the subject's own: all others are found from
-- there, so that no index is needed. NULL in a subject: taken in before there were events.
ALTER TABLE tasks ADD COLUMN event INTEGER;
ALTER TABLE subjects ADD COLUMN event INTEGER;

-- secret: 16 random bytes, with which what a proof shows of the subject is salted. marks: for
-- each identifier its field in one byte and its mark in 16 (see seal.Mark), in the order of
-- the input; NULL: none are kept. Both go with the subject.
ALTER TABLE subjects ADD COLUMN secret BLOB;
ALTER TABLE subjects ADD COLUMN marks BLOB;

-- How the request came in; when and how the person was told of its end.
ALTER TABLE subjects ADD COLUMN channel TEXT;
ALTER TABLE subjects ADD COLUMN answered_at INTEGER;
ALTER TABLE subjects ADD COLUMN answer_channel TEXT;

-- What the vendor does when a task of the shape is submitted. A vendor that does something
-- else from now on leads to other shapes.
ALTER TABLE shapes ADD COLUMN act TEXT;

-- How many marks the subject had before.
ALTER TABLE additions ADD COLUMN marks INTEGER NOT NULL DEFAULT 0;

-- The event that comes next when the batch's intake begins: an intake that does not come to
-- its end takes back all from there.
ALTER TABLE batches ADD COLUMN first_event INTEGER;
CREATE INDEX batches_loading ON batches (first_event) WHERE loading;

-- +goose StatementBegin
CREATE TRIGGER events_stay BEFORE UPDATE ON events
BEGIN
  SELECT RAISE(ABORT, 'an event is never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER events_go BEFORE DELETE ON events
WHEN NOT EXISTS (SELECT 1 FROM batches WHERE loading AND first_event <= OLD.seq)
 AND (OLD.task IS NULL OR CASE OLD.task % 1000 WHEN 999 THEN EXISTS (SELECT 1 FROM subjects WHERE id = OLD.task / 1000)
  ELSE EXISTS (SELECT 1 FROM tasks WHERE id = OLD.task) END)
BEGIN
  SELECT RAISE(ABORT, 'an event goes with its subject only');
END;
-- +goose StatementEnd

-- What statistics need of purged subjects: their tasks by vendor, and their requests as a whole
-- (vendor 0), by month of receipt (YYYY-MM, UTC).
-- state: of the tasks; of requests what it counts as (see Period). evidence: as in tasks.
-- closed: 1 rejected or declined, 2 closed by a person otherwise. outcome: of requests, 1 complied with in whole, 2 in part, 3 denied.
-- days: whole days from receipt to the end, NULL where nothing was done; in_time: 1, or 0 for
-- late, NULL for skipped. answer_days, answer_in_time: the same to the day on which the person was told; NULL: not told.
CREATE TABLE periods (
  month          TEXT NOT NULL,
  vendor         INTEGER NOT NULL,
  state          INTEGER NOT NULL,
  evidence       INTEGER NOT NULL,
  closed         INTEGER NOT NULL,
  outcome        INTEGER NOT NULL,
  days           INTEGER,
  in_time        INTEGER,
  answer_days    INTEGER,
  answer_in_time INTEGER,
  n              INTEGER NOT NULL CHECK (n > 0)
) STRICT;
CREATE UNIQUE INDEX periods_key ON periods (month, vendor, state, evidence, closed, outcome,
  coalesce(days, -1), coalesce(in_time, -1), coalesce(answer_days, -1), coalesce(answer_in_time, -1));

CREATE INDEX decisions_vendor ON decisions (vendor) WHERE vendor IS NOT NULL;
