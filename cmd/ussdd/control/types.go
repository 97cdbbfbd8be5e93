package control

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"ussdd/smpp"
)

// LinkStatus is a link as the socket shows it.
type LinkStatus struct {
	SMSC      string       `json:"smsc"`
	Profile   string       `json:"profile"`
	Admin     string       `json:"admin"` // what an operator wants: up, draining or down
	State     string       `json:"state"`
	Since     time.Time    `json:"since"` // of State
	LastPDU   time.Time    `json:"last_pdu,omitzero"`
	LastError string       `json:"last_error,omitempty"`
	InFlight  int          `json:"in_flight"`
	Queued    int          `json:"queued"`
	Queue     int          `json:"queue"` // limit of Queued
	Binds     []BindStatus `json:"binds"`
}

// BindStatus is one connection of a link.
type BindStatus struct {
	Name       string    `json:"name"`
	Role       string    `json:"role"`
	SystemID   string    `json:"system_id"`
	Addr       string    `json:"addr"`
	Peer       string    `json:"peer,omitempty"` // the SMSC's system_id, while bound
	State      string    `json:"state"`
	Since      time.Time `json:"since"`             // of State
	RetryAt    time.Time `json:"retry_at,omitzero"` // while waiting to connect again
	LastPDU    time.Time `json:"last_pdu,omitzero"` // never heard if missing
	LastError  string    `json:"last_error,omitempty"`
	InFlight   int       `json:"in_flight"`
	Window     int       `json:"window"` // limit of InFlight in force
	MaxWindow  int       `json:"max_window"`
	Queued     int       `json:"queued"`
	Rate       float64   `json:"rate"` // messages per second in force, 0 without limit
	MaxRate    float64   `json:"max_rate"`
	InRate     float64   `json:"in_rate"` // PDUs per second, lately
	OutRate    float64   `json:"out_rate"`
	BadAccount bool      `json:"bad_account,omitempty"` // the last bind was refused for its credentials
}

// statusOf gives a link's status the socket's form.
func statusOf(s smpp.Status) LinkStatus {
	l := LinkStatus{SMSC: s.Name, Profile: s.Profile, Admin: s.Admin.String(), State: s.State.String(), Since: s.Since.UTC(),
		LastPDU: utc(s.LastPDU), LastError: s.LastError, InFlight: s.InFlight, Queued: s.Queued, Queue: s.Queue,
		Binds: make([]BindStatus, len(s.Binds))}
	for i, b := range s.Binds {
		l.Binds[i] = BindStatus{Name: b.Name, Role: b.Role, SystemID: b.SystemID, Addr: b.Addr, Peer: b.Peer, State: b.State.String(),
			Since: b.Since.UTC(), RetryAt: utc(b.RetryAt), LastPDU: utc(b.LastPDU), LastError: b.LastError, InFlight: b.InFlight,
			Window: b.Window, MaxWindow: b.MaxWindow, Queued: b.Queued, Rate: b.Rate, MaxRate: b.MaxRate,
			InRate: b.InRate, OutRate: b.OutRate, BadAccount: b.BadAccount}
	}
	return l
}

// utc keeps the zero time as it is.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// TraceOptions choose what a trace shows, as [smpp.TraceOptions] do.
type TraceOptions struct {
	MSISDN string // only this subscriber's PDUs, E.164 digits without plus; empty: all
	Inputs bool   // show what subscribers type
}

// Traced is one line of a trace.
type Traced struct {
	Time   time.Time `json:"time"`
	Bind   string    `json:"bind"`
	Local  string    `json:"local"`  // the daemon's address, host:port
	Remote string    `json:"remote"` // the SMSC's
	Out    bool      `json:"out"`    // sent by the daemon
	MSISDN string    `json:"msisdn,omitempty"`
	Lost   uint64    `json:"lost,omitempty"` // PDUs before this one that the caller was too slow for
	Brief  string    `json:"brief"`          // the PDU in one line, for a person
	Frame  Hex       `json:"frame"`
}

// Hex is octets that are written in hexadecimal.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// PushRequest asks for a session that the network begins.
type PushRequest struct {
	SMSC    string `json:"smsc"`
	MSISDN  string `json:"msisdn"`         // E.164 digits without plus
	Service string `json:"service"`        // the code whose menu opens, and that the subscriber sees as the sender
	Text    string `json:"text,omitempty"` // if set, only this is shown, and no menu
}

// PushResult says what became of a push that the SMSC accepted.
type PushResult struct {
	Session int64  `json:"session,string,omitempty"` // 0 if only a text was told
	Screen  string `json:"screen,omitempty"`         // the menu's first screen
}

// Problem is an error as the socket tells it (RFC 9457).
type Problem struct {
	Status int    `json:"status"` // of HTTP
	Title  string `json:"title"`  // of the status
	Detail string `json:"detail"` // for a person
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// Refuse makes a Problem with a status of HTTP.
func Refuse(status int, format string, args ...any) *Problem {
	return &Problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}
