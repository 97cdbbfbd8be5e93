-- USSD sessions, their steps, and the services they ran under. Times are unix milliseconds (0 = not yet).

CREATE TABLE sessions (
    id         INTEGER NOT NULL PRIMARY KEY,
    smsc       TEXT    NOT NULL,
    msisdn     TEXT    NOT NULL,
    dialogue   TEXT    NOT NULL,
    code       TEXT    NOT NULL,
    service    TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    screen     TEXT    NOT NULL,
    state      BLOB    NOT NULL,
    steps      INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    reason     TEXT    NOT NULL
) STRICT;

CREATE INDEX sessions_dialogue ON sessions (msisdn, smsc, dialogue);

CREATE INDEX sessions_ended ON sessions (ended_at);

-- No foreign key: a step whose session was not written must not keep a batch from being written.
CREATE TABLE steps (
    session_id  INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    screen      TEXT    NOT NULL,
    input       TEXT    NOT NULL,
    shown       TEXT    NOT NULL,
    took_micros INTEGER NOT NULL,
    PRIMARY KEY (session_id, n)
) STRICT;

CREATE TABLE services (
    name    TEXT    NOT NULL,
    version TEXT    NOT NULL,
    codes   TEXT    NOT NULL,
    source  BLOB    NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;
