package smpp

import (
	"net"
	"sync"
)

// collector is the socket below a TLS connection. Once the handshake is over,
// what TLS writes is collected, and written to the socket by the same rules as
// PDUs without TLS. What TLS writes when it reads, the answer to a key update,
// leaves with the next PDU.
type collector struct {
	net.Conn
	collecting bool // does not change once the connection is shared

	mu      sync.Mutex
	records []byte
}

// Write implements net.Conn.
func (c *collector) Write(p []byte) (int, error) {
	if !c.collecting {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, p...)
	return len(p), nil
}

// take returns what was collected, which the caller owns.
func (c *collector) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	records := c.records
	c.records = nil
	return records
}
