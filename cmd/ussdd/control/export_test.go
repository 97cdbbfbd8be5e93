package control

import "time"

// Impatient makes a client give up so soon.
func (c *Client) Impatient(patience time.Duration) { c.patience = patience }
