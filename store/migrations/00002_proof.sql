-- +goose Up

-- What an outcome of not_found rests on is evidence too (4 control, 5 others). The checks of
-- a table cannot be altered, and tasks are too many to be copied: SQLite's own way for this
-- is to write the new text into the schema (https://sqlite.org/lang_altertable.html,
-- "simpler and faster"). Every row that the old checks took, the new ones take.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
  'CHECK (evidence BETWEEN 0 AND 3)', 'CHECK (evidence BETWEEN 0 AND 5)'),
  'CHECK ((state = 6) = (evidence <> 0))',
  'CHECK (CASE state WHEN 6 THEN evidence BETWEEN 1 AND 3 WHEN 7 THEN evidence IN (0,3,4,5) ELSE evidence = 0 END)')
WHERE type = 'table' AND name = 'tasks';
PRAGMA writable_schema = RESET;

-- A failed task is reopened by a person, or closed: only then is the request settled.
-- closed_at: when a person said that nothing more is to be done.
INSERT INTO transitions VALUES (9,0),(9,5),(9,9);
ALTER TABLE tasks ADD COLUMN closed_at INTEGER CHECK (closed_at IS NULL OR state = 9);
UPDATE tasks SET closed_at = completed_at WHERE state = 9 AND reason = 'rejected';
CREATE INDEX tasks_failed ON tasks (vendor) WHERE state = 9 AND closed_at IS NULL;
UPDATE batches SET done = 0 WHERE done = 1 AND EXISTS (SELECT 1 FROM tasks
  WHERE id BETWEEN first_subject*1000 AND last_subject*1000+999 AND state = 9 AND closed_at IS NULL);

-- place: where the account was when work was last done there (no secret is in it).
-- seen_control_at, seen_others_at: when the control record, or a record of anybody else, was
-- last found there. proved_at: when a person last vouched for it. trouble: why the last run
-- could not do its work there, since trouble_at; a code of package batch.
ALTER TABLE vendors ADD COLUMN place TEXT;
ALTER TABLE vendors ADD COLUMN seen_control_at INTEGER;
ALTER TABLE vendors ADD COLUMN seen_others_at INTEGER;
ALTER TABLE vendors ADD COLUMN proved_at INTEGER;
ALTER TABLE vendors ADD COLUMN trouble TEXT;
ALTER TABLE vendors ADD COLUMN trouble_at INTEGER;

-- Which task a vendor first gave a reference for, its present and former ones: references
-- are one to one. A row is written with the reference and looked up with it; an index of
-- tasks would be written with every later change of the task.
CREATE TABLE given_references (
  vendor    INTEGER NOT NULL,
  reference ANY NOT NULL, -- as in tasks
  task      INTEGER NOT NULL,
  PRIMARY KEY (vendor, reference)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO given_references
  SELECT vendor, reference, min(id) FROM (
    SELECT vendor, reference, id FROM tasks WHERE reference IS NOT NULL AND follows IS NULL
    UNION ALL SELECT t.vendor, f.reference, f.task FROM former_references f JOIN tasks t ON t.id = f.task)
  GROUP BY vendor, reference;

-- Decisions about a vendor have no subject.
CREATE TABLE decisions_2 (
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  who     TEXT NOT NULL,
  action  TEXT NOT NULL CHECK (action IN ('approve','reject','confirm','decline','extend','retry','close','prove','moved')),
  subject INTEGER,
  task    INTEGER,
  vendor  INTEGER REFERENCES vendors(id), -- of a decision about a vendor
  reason  TEXT,
  note    TEXT,
  until   INTEGER,
  CHECK ((subject IS NULL) = (action IN ('prove','moved'))),
  CHECK ((vendor IS NOT NULL) = (action IN ('prove','moved')))
) STRICT;
INSERT INTO decisions_2 (id, at, who, action, subject, task, reason, note, until)
  SELECT id, at, who, action, subject, task, reason, note, until FROM decisions;
DROP TABLE decisions;
ALTER TABLE decisions_2 RENAME TO decisions;

DROP VIEW task_list;
CREATE VIEW task_list AS
SELECT t.id, s.subject_id, s.batch, s.line, v.name AS vendor, st.name AS state, t.reason, coalesce(t.more ->> 'attempts', 0) AS attempts,
  (SELECT reference FROM reference_list WHERE task = t.id AND replaced_at IS NULL) AS reference,
  t.records, t.records_after, t.record_refs,
  datetime(t.due_at, 'unixepoch') AS due_at,
  datetime(nullif(t.next_at, 0)/1000, 'unixepoch') AS next_at,
  datetime(t.submitted_at, 'unixepoch') AS submitted_at,
  datetime(t.completed_at, 'unixepoch') AS completed_at,
  datetime(t.closed_at, 'unixepoch') AS closed_at
FROM tasks t JOIN subjects s ON s.id = t.id/1000 JOIN vendors v ON v.id = t.vendor JOIN states st ON st.code = t.state;
