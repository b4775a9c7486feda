-- +goose Up

-- Tasks that a later file added to a subject of an earlier batch: those that its shape has
-- more than the former one.
CREATE TABLE additions (
  batch   INTEGER NOT NULL REFERENCES batches(id),
  subject INTEGER NOT NULL,
  former  INTEGER NOT NULL, -- the subject's shape before
  tasks   INTEGER NOT NULL,
  PRIMARY KEY (batch, subject)
) STRICT, WITHOUT ROWID;

-- A batch that was taken back keeps its row, with who took it back and why.
ALTER TABLE batches ADD COLUMN dropped_at   INTEGER;
ALTER TABLE batches ADD COLUMN dropped_by   TEXT;
ALTER TABLE batches ADD COLUMN dropped_note TEXT;

-- told: a run has ended with the exit code for its invalid rows, which is said once.
ALTER TABLE batches ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
UPDATE batches SET told = 1;

-- The due date before the first extension; NULL: it was never extended, or before this was kept.
ALTER TABLE subjects ADD COLUMN original_due_at INTEGER;

-- No digest is kept of finished people: neither of their identifiers (content is 0) nor of the
-- file that they stood in, which for a file of one row is the same. Digests of files are keyed
-- from now on, so that the old ones tell nothing.
UPDATE subjects SET content = 0
WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id BETWEEN subjects.id*1000 AND subjects.id*1000+999 AND (t.state < 6 OR t.state = 9 AND t.closed_at IS NULL));
UPDATE batches SET digest = NULL;
