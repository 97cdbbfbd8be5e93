-- The books of an auditor: entries that reverse others, journals that only grow, purchases that wait for a person or whose
-- truth came late, commission by vendor, deposits, messages and the operators' log. SQLite changes the constraints of a table
-- by making it anew.

CREATE TABLE entries_new (
    id          INTEGER NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL CHECK (kind IN ('credit', 'hold', 'capture', 'release', 'dispute', 'late', 'reversal', 'deposit', 'assign', 'topup', 'correction')),
    reference   TEXT    NOT NULL,
    msisdn      TEXT    NOT NULL,
    note        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    reverses_id INTEGER REFERENCES entries_new (id)
) STRICT;

INSERT INTO entries_new (id, kind, reference, msisdn, note, at) SELECT id, kind, reference, msisdn, note, at FROM entries;

CREATE TABLE postings_new (
    entry_id INTEGER NOT NULL REFERENCES entries_new (id),
    n        INTEGER NOT NULL,
    account  TEXT    NOT NULL,
    msisdn   TEXT    NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry_id, n)
) STRICT;

INSERT INTO postings_new SELECT entry_id, n, account, msisdn, amount FROM postings;

DROP TABLE postings;

DROP TABLE entries;

ALTER TABLE entries_new RENAME TO entries;

ALTER TABLE postings_new RENAME TO postings;

CREATE UNIQUE INDEX entries_reference ON entries (kind, reference);

CREATE UNIQUE INDEX entries_reverses ON entries (reverses_id);

CREATE INDEX postings_account ON postings (account, entry_id);

CREATE TRIGGER entries_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;

CREATE TRIGGER entries_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END;

CREATE TRIGGER postings_update BEFORE UPDATE ON postings BEGIN SELECT RAISE(ABORT, 'postings are never changed'); END;

CREATE TRIGGER postings_delete BEFORE DELETE ON postings BEGIN SELECT RAISE(ABORT, 'postings are never deleted'); END;

-- unsure_at: when the purchase first was ambiguous. failed_at: when it was known that the last attempt had failed.
-- token: what the vendor gave for the subscriber.
CREATE TABLE purchases_new (
    id             INTEGER NOT NULL PRIMARY KEY,
    ref            TEXT    NOT NULL,
    idem_key       TEXT    NOT NULL,
    session_id     INTEGER NOT NULL,
    msisdn         TEXT    NOT NULL,
    recipient      TEXT    NOT NULL,
    network        TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    state          TEXT    NOT NULL CHECK (state IN ('held', 'sending', 'pending', 'needs_review', 'delivered', 'failed', 'reversed', 'delivered_late')),
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
    next_at        INTEGER NOT NULL,
    unsure_at      INTEGER NOT NULL DEFAULT 0,
    failed_at      INTEGER NOT NULL DEFAULT 0,
    token          TEXT    NOT NULL DEFAULT ''
) STRICT;

-- What is pending or failed was so at these times at the latest: its clock has a start.
INSERT INTO purchases_new (id, ref, idem_key, session_id, msisdn, recipient, network, amount, state, reason, attempts, vendor, vendor_ref, cost, commission,
    commission_bps, owner, version, created_at, updated_at, decided_at, next_at, unsure_at, failed_at)
    SELECT id, ref, idem_key, session_id, msisdn, recipient, network, amount, state, reason, attempts, vendor, vendor_ref, cost, commission,
    commission_bps, owner, version, created_at, updated_at, decided_at, next_at, CASE state WHEN 'pending' THEN created_at ELSE 0 END,
    CASE state WHEN 'failed' THEN decided_at ELSE 0 END FROM purchases;

-- commission: what the vendor says it left us.
CREATE TABLE attempts_new (
    purchase_id   INTEGER NOT NULL REFERENCES purchases_new (id),
    n             INTEGER NOT NULL,
    msisdn        TEXT    NOT NULL,
    vendor        TEXT    NOT NULL,
    reference     TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('sending', 'pending', 'delivered', 'declined', 'not_sent', 'unavailable', 'reversed', 'delivered_late')),
    reason        TEXT    NOT NULL,
    http_status   INTEGER NOT NULL,
    vendor_ref    TEXT    NOT NULL,
    cost          INTEGER NOT NULL,
    detail        TEXT    NOT NULL,
    queries       INTEGER NOT NULL,
    not_found     INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER NOT NULL,
    commission    INTEGER NOT NULL DEFAULT 0,
    token         TEXT    NOT NULL DEFAULT '',
    live_purchase INTEGER GENERATED ALWAYS AS (CASE WHEN state IN ('sending', 'pending', 'delivered') THEN purchase_id END) STORED,
    PRIMARY KEY (purchase_id, n)
) STRICT;

INSERT INTO attempts_new (purchase_id, n, msisdn, vendor, reference, state, reason, http_status, vendor_ref, cost, detail, queries, not_found, started_at, finished_at)
    SELECT purchase_id, n, msisdn, vendor, reference, state, reason, http_status, vendor_ref, cost, detail, queries, not_found, started_at, finished_at FROM attempts;

DROP TABLE attempts;

DROP TABLE purchases;

ALTER TABLE purchases_new RENAME TO purchases;

ALTER TABLE attempts_new RENAME TO attempts;

CREATE UNIQUE INDEX purchases_ref ON purchases (ref);

CREATE UNIQUE INDEX purchases_idem_key ON purchases (idem_key);

CREATE INDEX purchases_msisdn ON purchases (msisdn, id);

CREATE INDEX purchases_recipient ON purchases (recipient, created_at);

CREATE INDEX purchases_payer ON purchases (msisdn, created_at);

CREATE INDEX purchases_same ON purchases (msisdn, recipient, amount, state);

CREATE INDEX purchases_state ON purchases (state, owner, next_at);

CREATE UNIQUE INDEX attempts_reference ON attempts (reference);

CREATE UNIQUE INDEX attempts_live ON attempts (live_purchase);

CREATE INDEX attempts_vendor_ref ON attempts (vendor_ref, vendor, purchase_id);

-- vendor '' is every vendor that has no rate of its own.
CREATE TABLE commissions_new (
    network    TEXT    NOT NULL,
    vendor     TEXT    NOT NULL DEFAULT '',
    valid_from INTEGER NOT NULL,
    bps        INTEGER NOT NULL CHECK (bps BETWEEN 0 AND 10000),
    PRIMARY KEY (network, vendor, valid_from)
) STRICT;

INSERT INTO commissions_new SELECT network, '', valid_from, bps FROM commissions;

DROP TABLE commissions;

ALTER TABLE commissions_new RENAME TO commissions;

-- Decided purchases whose vendor is to be asked again.
CREATE TABLE rechecks (
    purchase_id INTEGER NOT NULL PRIMARY KEY,
    at          INTEGER NOT NULL
) STRICT;

CREATE INDEX rechecks_at ON rechecks (at);

-- A row is locked while the sums of a recipient are compared with a limit, or a payment that two may report is booked.
CREATE TABLE subject_locks (
    subject TEXT    NOT NULL PRIMARY KEY,
    n       INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    name  TEXT    NOT NULL PRIMARY KEY,
    value TEXT    NOT NULL,
    at    INTEGER NOT NULL
) STRICT;

-- login: the user at the computer, whatever name the operator gave.
CREATE TABLE audit (
    id       INTEGER NOT NULL PRIMARY KEY,
    at       INTEGER NOT NULL,
    operator TEXT    NOT NULL,
    login    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    detail   TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_subject ON audit (subject, id);

CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the log is never changed'); END;

CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the log is never deleted'); END;

-- What one operator asked for and another has to approve.
CREATE TABLE requests (
    id         INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    operator   TEXT    NOT NULL,
    login      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    decided_at INTEGER NOT NULL,
    decided_by TEXT    NOT NULL
) STRICT;

CREATE INDEX requests_subject ON requests (subject, id);

CREATE INDEX requests_open ON requests (decided_at, at);

CREATE TABLE outbox (
    id          INTEGER NOT NULL PRIMARY KEY,
    purchase_id INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    msisdn      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    tries       INTEGER NOT NULL,
    error       TEXT    NOT NULL,
    smsc        TEXT    NOT NULL,
    message_id  TEXT    NOT NULL,
    sent_at     INTEGER NOT NULL,
    receipt     TEXT    NOT NULL,
    receipt_at  INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX outbox_purchase ON outbox (purchase_id, kind);

CREATE INDEX outbox_next ON outbox (sent_at, next_at);

CREATE INDEX outbox_message ON outbox (message_id, smsc);

CREATE TABLE virtual_accounts (
    provider  TEXT    NOT NULL,
    account   TEXT    NOT NULL,
    msisdn    TEXT    NOT NULL,
    opened_at INTEGER NOT NULL,
    PRIMARY KEY (provider, account)
) STRICT;

CREATE TABLE deposits (
    provider  TEXT    NOT NULL,
    reference TEXT    NOT NULL,
    account   TEXT    NOT NULL,
    msisdn    TEXT    NOT NULL,
    amount    INTEGER NOT NULL CHECK (amount > 0),
    body      BLOB    NOT NULL,
    at        INTEGER NOT NULL,
    undone_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (provider, reference)
) STRICT;

CREATE INDEX deposits_at ON deposits (at);
