-- The open session of a dialogue that is known by its id alone. The index begins with what the one before it was for.

CREATE INDEX sessions_open ON sessions (ended_at, smsc, dialogue);

DROP INDEX sessions_ended;
