-- USSD sessions, their steps, and the services they ran under. Times are unix milliseconds (0 = not yet).

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
    INDEX sessions_ended (ended_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- No foreign key: a step whose session was not written must not keep a batch from being written.
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
