-- +goose Up

-- A batch in which nothing is open any more: it stays so, and is not looked through again.
ALTER TABLE batches ADD COLUMN done INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0,1));
