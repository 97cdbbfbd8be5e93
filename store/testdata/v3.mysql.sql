-- The third schema with a purchase under way and a live session, as released. DO NOT EDIT: it stands for the databases out there.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INT         NOT NULL PRIMARY KEY,
    name       VARCHAR(64) NOT NULL,
    checksum   CHAR(64)    NOT NULL,
    applied_at BIGINT      NOT NULL
);

CREATE TABLE IF NOT EXISTS wallets (
    msisdn    VARCHAR(20) NOT NULL PRIMARY KEY,
    balance   BIGINT      NOT NULL DEFAULT 0,
    held      BIGINT      NOT NULL DEFAULT 0,
    opened_at BIGINT      NOT NULL,
    CONSTRAINT wallets_balance CHECK (balance >= 0),
    CONSTRAINT wallets_held CHECK (held >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS entries (
    id        BIGINT       NOT NULL PRIMARY KEY,
    kind      VARCHAR(16)  NOT NULL,
    reference VARCHAR(160) NOT NULL,
    msisdn    VARCHAR(20)  NOT NULL,
    note      VARCHAR(255) NOT NULL,
    at        BIGINT       NOT NULL,
    UNIQUE INDEX entries_reference (kind, reference),
    CONSTRAINT entries_kind CHECK (kind IN ('credit', 'hold', 'capture', 'release'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS postings (
    entry_id BIGINT      NOT NULL,
    n        INT         NOT NULL,
    account  VARCHAR(80) NOT NULL,
    msisdn   VARCHAR(20) NOT NULL,
    amount   BIGINT      NOT NULL,
    PRIMARY KEY (entry_id, n),
    INDEX postings_account (account, entry_id),
    CONSTRAINT postings_entry FOREIGN KEY (entry_id) REFERENCES entries (id),
    CONSTRAINT postings_amount CHECK (amount <> 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS purchases (
    id             BIGINT       NOT NULL PRIMARY KEY,
    ref            VARCHAR(32)  NOT NULL,
    idem_key       VARCHAR(128) NOT NULL,
    session_id     BIGINT       NOT NULL,
    msisdn         VARCHAR(20)  NOT NULL,
    recipient      VARCHAR(20)  NOT NULL,
    network        VARCHAR(32)  NOT NULL,
    amount         BIGINT       NOT NULL,
    state          VARCHAR(16)  NOT NULL,
    reason         VARCHAR(64)  NOT NULL,
    attempts       INT          NOT NULL,
    vendor         VARCHAR(64)  NOT NULL,
    vendor_ref     VARCHAR(128) NOT NULL,
    cost           BIGINT       NOT NULL,
    commission     BIGINT       NOT NULL,
    commission_bps INT          NOT NULL,
    owner          VARCHAR(128) NOT NULL,
    version        BIGINT       NOT NULL,
    created_at     BIGINT       NOT NULL,
    updated_at     BIGINT       NOT NULL,
    decided_at     BIGINT       NOT NULL,
    next_at        BIGINT       NOT NULL,
    UNIQUE INDEX purchases_ref (ref),
    UNIQUE INDEX purchases_idem_key (idem_key),
    INDEX purchases_msisdn (msisdn, id),
    INDEX purchases_state (state, owner, next_at),
    CONSTRAINT purchases_amount CHECK (amount > 0),
    CONSTRAINT purchases_state_known CHECK (state IN ('held', 'sending', 'pending', 'delivered', 'failed')),
    CONSTRAINT purchases_commission CHECK (commission >= 0 AND commission <= amount)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS attempts (
    purchase_id   BIGINT       NOT NULL,
    n             INT          NOT NULL,
    msisdn        VARCHAR(20)  NOT NULL,
    vendor        VARCHAR(64)  NOT NULL,
    reference     VARCHAR(64)  NOT NULL,
    state         VARCHAR(16)  NOT NULL,
    reason        VARCHAR(64)  NOT NULL,
    http_status   INT          NOT NULL,
    vendor_ref    VARCHAR(128) NOT NULL,
    cost          BIGINT       NOT NULL,
    detail        VARCHAR(255) NOT NULL,
    queries       INT          NOT NULL,
    not_found     INT          NOT NULL,
    started_at    BIGINT       NOT NULL,
    finished_at   BIGINT       NOT NULL,
    live_purchase BIGINT GENERATED ALWAYS AS (CASE WHEN state IN ('sending', 'pending', 'delivered') THEN purchase_id END) STORED,
    PRIMARY KEY (purchase_id, n),
    UNIQUE INDEX attempts_reference (reference),
    UNIQUE INDEX attempts_live (live_purchase),
    CONSTRAINT attempts_purchase FOREIGN KEY (purchase_id) REFERENCES purchases (id),
    CONSTRAINT attempts_state_known CHECK (state IN ('sending', 'pending', 'delivered', 'declined', 'not_sent', 'unavailable'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS instances (
    owner       VARCHAR(128) NOT NULL PRIMARY KEY,
    lease_until BIGINT       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS commissions (
    network    VARCHAR(32) NOT NULL,
    valid_from BIGINT      NOT NULL,
    bps        INT         NOT NULL,
    PRIMARY KEY (network, valid_from),
    CONSTRAINT commissions_bps CHECK (bps BETWEEN 0 AND 10000)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT INTO commissions (network, valid_from, bps)
VALUES ('mtn', 0, 300), ('airtel', 0, 300), ('glo', 0, 400), ('9mobile', 0, 450)
ON DUPLICATE KEY UPDATE network = network;

INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (1, '0001_money', 'd6ec3772a513a95bd156c1051f2c7b239e16286301a469df1af8aebc9ec496eb', 1790000000000);

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

CREATE TABLE IF NOT EXISTS sessions (
    id         BIGINT       NOT NULL PRIMARY KEY,
    smsc       VARCHAR(64)  NOT NULL,
    msisdn     VARCHAR(20)  NOT NULL,
    dialogue   VARCHAR(128) NOT NULL,
    code       VARCHAR(64)  NOT NULL,
    service    VARCHAR(64)  NOT NULL,
    version    VARCHAR(64)  NOT NULL,
    screen     VARCHAR(64)  NOT NULL,
    state      MEDIUMBLOB   NOT NULL,
    steps      INT          NOT NULL,
    started_at BIGINT       NOT NULL,
    last_at    BIGINT       NOT NULL,
    ended_at   BIGINT       NOT NULL,
    reason     VARCHAR(64)  NOT NULL,
    INDEX sessions_dialogue (msisdn, smsc, dialogue),
    INDEX sessions_open (ended_at, smsc, dialogue)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS steps (
    session_id  BIGINT       NOT NULL,
    n           INT          NOT NULL,
    at          BIGINT       NOT NULL,
    screen      VARCHAR(64)  NOT NULL,
    input       VARCHAR(255) NOT NULL,
    shown       VARCHAR(64)  NOT NULL,
    took_micros BIGINT       NOT NULL,
    PRIMARY KEY (session_id, n)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS services (
    name    VARCHAR(64)  NOT NULL,
    version VARCHAR(64)  NOT NULL,
    codes   VARCHAR(255) NOT NULL,
    source  MEDIUMBLOB   NOT NULL,
    seen_at BIGINT       NOT NULL,
    PRIMARY KEY (name, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (2, '0002_sessions', '582c91611ceceb45cacf257e9d0e2f5bf78ae6b5da7694c383d50d0bb800e678', 1790000000000);

INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (3, '0003_open_sessions', '259bfd50bf998da1e8293afd1dc851dfa4e7201531fbefc761b94fa10c85c404', 1790000000000);

INSERT INTO sessions (id, smsc, msisdn, dialogue, code, service, version, screen, state, steps, started_at, last_at, ended_at, reason)
VALUES (891000000000004, 'mtn', '2348031234567', '2a00', '*999#', 'airtime', '0123456789ab', 'processing', x'7B7D', 6, 1789999990000, 1790000001000, 0, '');

INSERT INTO steps (session_id, n, at, screen, input, shown, took_micros)
VALUES (891000000000004, 6, 1790000001000, 'confirm', '1', 'buy', 900);
