-- The third schema with a purchase under way and a live session, as released. DO NOT EDIT: it stands for the databases out there.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INT         NOT NULL PRIMARY KEY,
    name       VARCHAR(64) NOT NULL,
    checksum   CHAR(64)    NOT NULL,
    applied_at BIGINT      NOT NULL
);

CREATE TABLE wallets (
    msisdn    TEXT    NOT NULL PRIMARY KEY,
    balance   INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    held      INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    opened_at INTEGER NOT NULL
) STRICT;

CREATE TABLE entries (
    id        INTEGER NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL CHECK (kind IN ('credit', 'hold', 'capture', 'release')),
    reference TEXT    NOT NULL,
    msisdn    TEXT    NOT NULL,
    note      TEXT    NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX entries_reference ON entries (kind, reference);

CREATE TABLE postings (
    entry_id INTEGER NOT NULL REFERENCES entries (id),
    n        INTEGER NOT NULL,
    account  TEXT    NOT NULL,
    msisdn   TEXT    NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry_id, n)
) STRICT;

CREATE INDEX postings_account ON postings (account, entry_id);

CREATE TABLE purchases (
    id             INTEGER NOT NULL PRIMARY KEY,
    ref            TEXT    NOT NULL,
    idem_key       TEXT    NOT NULL,
    session_id     INTEGER NOT NULL,
    msisdn         TEXT    NOT NULL,
    recipient      TEXT    NOT NULL,
    network        TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    state          TEXT    NOT NULL CHECK (state IN ('held', 'sending', 'pending', 'delivered', 'failed')),
    reason         TEXT    NOT NULL,
    attempts       INTEGER NOT NULL,
    vendor         TEXT    NOT NULL,
    vendor_ref     TEXT    NOT NULL,
    cost           INTEGER NOT NULL,
    commission     INTEGER NOT NULL CHECK (commission >= 0 AND commission <= amount),
    commission_bps INTEGER NOT NULL,
    owner          TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    decided_at     INTEGER NOT NULL,
    next_at        INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX purchases_ref ON purchases (ref);

CREATE UNIQUE INDEX purchases_idem_key ON purchases (idem_key);

CREATE INDEX purchases_msisdn ON purchases (msisdn, id);

CREATE INDEX purchases_state ON purchases (state, owner, next_at);

CREATE TABLE attempts (
    purchase_id   INTEGER NOT NULL REFERENCES purchases (id),
    n             INTEGER NOT NULL,
    msisdn        TEXT    NOT NULL,
    vendor        TEXT    NOT NULL,
    reference     TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('sending', 'pending', 'delivered', 'declined', 'not_sent', 'unavailable')),
    reason        TEXT    NOT NULL,
    http_status   INTEGER NOT NULL,
    vendor_ref    TEXT    NOT NULL,
    cost          INTEGER NOT NULL,
    detail        TEXT    NOT NULL,
    queries       INTEGER NOT NULL,
    not_found     INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER NOT NULL,
    live_purchase INTEGER GENERATED ALWAYS AS (CASE WHEN state IN ('sending', 'pending', 'delivered') THEN purchase_id END) STORED,
    PRIMARY KEY (purchase_id, n)
) STRICT;

CREATE UNIQUE INDEX attempts_reference ON attempts (reference);

CREATE UNIQUE INDEX attempts_live ON attempts (live_purchase);

CREATE TABLE instances (
    owner       TEXT    NOT NULL PRIMARY KEY,
    lease_until INTEGER NOT NULL
) STRICT;

CREATE TABLE commissions (
    network    TEXT    NOT NULL,
    valid_from INTEGER NOT NULL,
    bps        INTEGER NOT NULL CHECK (bps BETWEEN 0 AND 10000),
    PRIMARY KEY (network, valid_from)
) STRICT;

INSERT INTO commissions (network, valid_from, bps)
VALUES ('mtn', 0, 300), ('airtel', 0, 300), ('glo', 0, 400), ('9mobile', 0, 450);

INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (1, '0001_money', '577720d35ec0e224aa52c2bb3fb7b902c98c6d5a2c20c1f03095bc9d87935016', 1790000000000);

INSERT INTO instances (owner, lease_until) VALUES ('instance-1', 1790000030000);

INSERT INTO wallets (msisdn, balance, held, opened_at) VALUES ('2348031234567', 40000, 10000, 1790000000000);

INSERT INTO entries (id, kind, reference, msisdn, note, at)
VALUES (891000000000001, 'credit', 'operator:slip 1', '2348031234567', 'cash', 1790000000000),
       (891000000000002, 'hold', 'TXN-000SABXW9M003', '2348031234567', '', 1790000001000);

INSERT INTO postings (entry_id, n, account, msisdn, amount)
VALUES (891000000000001, 1, 'funding:operator', '2348031234567', -50000),
       (891000000000001, 2, 'wallet:2348031234567', '2348031234567', 50000),
       (891000000000002, 1, 'wallet:2348031234567', '2348031234567', -10000),
       (891000000000002, 2, 'hold:2348031234567', '2348031234567', 10000);

INSERT INTO purchases (id, ref, idem_key, session_id, msisdn, recipient, network, amount, state, reason, attempts, vendor, vendor_ref,
    cost, commission, commission_bps, owner, version, created_at, updated_at, decided_at, next_at)
VALUES (891000000000003, 'TXN-000SABXW9M003', '891000000000004:1', 891000000000004, '2348031234567', '2348051234567', 'glo', 10000, 'pending',
    'pending:timeout', 1, 'glo-direct', '', 0, 0, 0, 'instance-1', 3, 1790000001000, 1790000002000, 0, 1790000005000);

INSERT INTO attempts (purchase_id, n, msisdn, vendor, reference, state, reason, http_status, vendor_ref, cost, detail, queries, not_found,
    started_at, finished_at)
VALUES (891000000000003, 1, '2348031234567', 'glo-direct', 'TXN-000SABXW9M003', 'pending', 'timeout', 0, '', 0, '', 0, 0, 1790000001500,
    1790000002000);

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

CREATE INDEX sessions_open ON sessions (ended_at, smsc, dialogue);

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

INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (2, '0002_sessions', '1ab7cfddc2bdf2877be90d74df65a536a15a8d0b0d4c58a5a392095e206447b5', 1790000000000);

INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (3, '0003_open_sessions', '8ee2cd0982800e36441850cf305bc096dcb88c9321e2a54a5a07ee779473cb48', 1790000000000);

INSERT INTO sessions (id, smsc, msisdn, dialogue, code, service, version, screen, state, steps, started_at, last_at, ended_at, reason)
VALUES (891000000000004, 'mtn', '2348031234567', '2a00', '*999#', 'airtime', '0123456789ab', 'processing', x'7B7D', 6, 1789999990000, 1790000001000, 0, '');

INSERT INTO steps (session_id, n, at, screen, input, shown, took_micros)
VALUES (891000000000004, 6, 1790000001000, 'confirm', '1', 'buy', 900);
