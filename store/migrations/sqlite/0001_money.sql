-- Wallets, the ledger, purchases and their attempts. Money is in kobo, times are unix milliseconds (0 = not yet).

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

-- live_purchase is the purchase while the attempt may deliver or has delivered: its unique index is the last guard
-- against a second delivery.
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
