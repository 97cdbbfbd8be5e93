package vendors

import (
	"fmt"
	"io"
	"log/slog"
)

// secret holds a value that no way of printing, logging or encoding shows. The value is behind a
// pointer because fmt prints the unexported fields of a struct without asking their methods.
type secret struct{ value *string }

const hidden = "<secret>"

func newSecret(s string) secret { return secret{&s} }

// reveal gives the value, "" for the zero secret.
func (s secret) reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Format implements fmt.Formatter for every verb, %#v and %x included.
func (secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue implements slog.LogValuer.
func (secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON and YAML.
func (secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
