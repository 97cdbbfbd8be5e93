-- The open session of a dialogue that is known by its id alone. The index begins with what the one before it was for.

ALTER TABLE sessions ADD INDEX sessions_open (ended_at, smsc, dialogue), DROP INDEX sessions_ended;
