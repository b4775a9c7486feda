-- +goose Up

-- A person who has work tried again at a vendor may lift its pause where no task has failed:
-- a decision about the vendor. As in 00002 the checks are written anew in the schema's text,
-- and take every row that the old ones took.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
  'CHECK ((subject IS NULL) = (action IN (''prove'',''moved'')))', 'CHECK ((subject IS NULL) = (vendor IS NOT NULL))'),
  'CHECK ((vendor IS NOT NULL) = (action IN (''prove'',''moved'')))', 'CHECK (CASE WHEN vendor IS NULL THEN action NOT IN (''prove'',''moved'') ELSE action IN (''prove'',''moved'',''retry'') END)')
WHERE type = 'table' AND name = 'decisions';
PRAGMA writable_schema = RESET;
