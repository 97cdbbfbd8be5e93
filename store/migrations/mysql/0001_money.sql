-- Wallets, the ledger, purchases and their attempts. Money is in kobo, times are unix milliseconds (0 = not yet).

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

-- live_purchase is the purchase while the attempt may deliver or has delivered: its unique index is the last guard
-- against a second delivery.
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
