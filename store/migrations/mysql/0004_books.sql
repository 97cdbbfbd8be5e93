-- The books of an auditor: entries that reverse others, journals that only grow, purchases that wait for a person or whose
-- truth came late, commission by vendor, deposits, messages and the operators' log. An ALTER TABLE that was done is refused
-- when it is run again, and that is taken for done.

ALTER TABLE entries
    ADD COLUMN reverses_id BIGINT NULL,
    ADD UNIQUE INDEX entries_reverses (reverses_id),
    DROP CONSTRAINT entries_kind,
    ADD CONSTRAINT entries_kinds CHECK (kind IN ('credit', 'hold', 'capture', 'release', 'dispute', 'late', 'reversal', 'deposit', 'assign', 'topup', 'correction'));

CREATE TRIGGER IF NOT EXISTS entries_update BEFORE UPDATE ON entries FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are never changed';

CREATE TRIGGER IF NOT EXISTS entries_delete BEFORE DELETE ON entries FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are never deleted';

CREATE TRIGGER IF NOT EXISTS postings_update BEFORE UPDATE ON postings FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'postings are never changed';

CREATE TRIGGER IF NOT EXISTS postings_delete BEFORE DELETE ON postings FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'postings are never deleted';

-- unsure_at: when the purchase first was ambiguous. failed_at: when it was known that the last attempt had failed.
-- token: what the vendor gave for the subscriber.
ALTER TABLE purchases
    ADD COLUMN unsure_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN failed_at BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN token VARCHAR(200) NOT NULL DEFAULT '',
    ADD INDEX purchases_recipient (recipient, created_at),
    ADD INDEX purchases_payer (msisdn, created_at),
    ADD INDEX purchases_same (msisdn, recipient, amount, state),
    DROP CONSTRAINT purchases_state_known,
    ADD CONSTRAINT purchases_states CHECK (state IN ('held', 'sending', 'pending', 'needs_review', 'delivered', 'failed', 'reversed', 'delivered_late'));

-- What is pending or failed was so at these times at the latest: its clock has a start.
UPDATE purchases SET unsure_at = created_at WHERE state = 'pending' AND unsure_at = 0;

UPDATE purchases SET failed_at = decided_at WHERE state = 'failed' AND failed_at = 0 AND unsure_at = 0;

-- commission: what the vendor says it left us.
ALTER TABLE attempts
    ADD COLUMN commission BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN token VARCHAR(200) NOT NULL DEFAULT '',
    ADD INDEX attempts_vendor_ref (vendor_ref, vendor, purchase_id),
    DROP CONSTRAINT attempts_state_known,
    ADD CONSTRAINT attempts_states CHECK (state IN ('sending', 'pending', 'delivered', 'declined', 'not_sent', 'unavailable', 'reversed', 'delivered_late'));

-- vendor '' is every vendor that has no rate of its own.
ALTER TABLE commissions
    ADD COLUMN vendor VARCHAR(64) NOT NULL DEFAULT '' AFTER network,
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (network, vendor, valid_from);

-- Decided purchases whose vendor is to be asked again.
CREATE TABLE IF NOT EXISTS rechecks (
    purchase_id BIGINT NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    INDEX rechecks_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A row is locked while the sums of a recipient are compared with a limit, or a payment that two may report is booked.
CREATE TABLE IF NOT EXISTS subject_locks (
    subject VARCHAR(64) NOT NULL PRIMARY KEY,
    n       BIGINT      NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS settings (
    name  VARCHAR(64)  NOT NULL PRIMARY KEY,
    value VARCHAR(255) NOT NULL,
    at    BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- login: the user at the computer, whatever name the operator gave.
CREATE TABLE IF NOT EXISTS audit (
    id       BIGINT       NOT NULL PRIMARY KEY,
    at       BIGINT       NOT NULL,
    operator VARCHAR(64)  NOT NULL,
    login    VARCHAR(64)  NOT NULL,
    action   VARCHAR(64)  NOT NULL,
    subject  VARCHAR(160) NOT NULL,
    reason   VARCHAR(255) NOT NULL,
    detail   VARCHAR(255) NOT NULL,
    INDEX audit_subject (subject, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TRIGGER IF NOT EXISTS audit_update BEFORE UPDATE ON audit FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the log is never changed';

CREATE TRIGGER IF NOT EXISTS audit_delete BEFORE DELETE ON audit FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the log is never deleted';

-- What one operator asked for and another has to approve.
CREATE TABLE IF NOT EXISTS requests (
    id         BIGINT       NOT NULL PRIMARY KEY,
    at         BIGINT       NOT NULL,
    operator   VARCHAR(64)  NOT NULL,
    login      VARCHAR(64)  NOT NULL,
    action     VARCHAR(64)  NOT NULL,
    subject    VARCHAR(160) NOT NULL,
    reason     VARCHAR(255) NOT NULL,
    decided_at BIGINT       NOT NULL,
    decided_by VARCHAR(64)  NOT NULL,
    INDEX requests_subject (subject, id),
    INDEX requests_open (decided_at, at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox (
    id          BIGINT       NOT NULL PRIMARY KEY,
    purchase_id BIGINT       NOT NULL,
    kind        VARCHAR(16)  NOT NULL,
    msisdn      VARCHAR(20)  NOT NULL,
    created_at  BIGINT       NOT NULL,
    next_at     BIGINT       NOT NULL,
    tries       INT          NOT NULL,
    error       VARCHAR(255) NOT NULL,
    smsc        VARCHAR(64)  NOT NULL,
    message_id  VARCHAR(64)  NOT NULL,
    sent_at     BIGINT       NOT NULL,
    receipt     VARCHAR(16)  NOT NULL,
    receipt_at  BIGINT       NOT NULL,
    UNIQUE INDEX outbox_purchase (purchase_id, kind),
    INDEX outbox_next (sent_at, next_at),
    INDEX outbox_message (message_id, smsc)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS virtual_accounts (
    provider  VARCHAR(32) NOT NULL,
    account   VARCHAR(64) NOT NULL,
    msisdn    VARCHAR(20) NOT NULL,
    opened_at BIGINT      NOT NULL,
    PRIMARY KEY (provider, account)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS deposits (
    provider  VARCHAR(32)  NOT NULL,
    reference VARCHAR(120) NOT NULL,
    account   VARCHAR(64)  NOT NULL,
    msisdn    VARCHAR(20)  NOT NULL,
    amount    BIGINT       NOT NULL,
    body      MEDIUMBLOB   NOT NULL,
    at        BIGINT       NOT NULL,
    undone_at BIGINT       NOT NULL DEFAULT 0,
    PRIMARY KEY (provider, reference),
    INDEX deposits_at (at),
    CONSTRAINT deposits_amount CHECK (amount > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
