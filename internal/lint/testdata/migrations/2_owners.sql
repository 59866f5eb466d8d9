-- +goose Up
CREATE INDEX pet_name ON pet (name);
ALTER TABLE pet ADD FOREIGN KEY (owner_id) REFERENCES owner (id);
-- tideover:allow breaks-old-server nobody reads it, "since" <release 4>
ALTER TABLE owner DROP COLUMN name;
DROP TABLE visit;
