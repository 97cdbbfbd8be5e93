package smpptest_test

import (
	"testing"

	"ussdd/smpp/smpptest"
)

func TestFrame(t *testing.T) {
	tests := []struct {
		name   string
		screen smpptest.Screen
		want   string
	}{
		{"menu", smpptest.Screen{Text: "Select Network:\n\n1. MTN\n0. Back to Main Menu"}, `
┌──────────────────────────────────┐
│ Select Network:                  │
│                                  │
│ 1. MTN                           │
│ 0. Back to Main Menu             │
├──────────────────────────────────┤
│ Answer                    Cancel │
└──────────────────────────────────┘
`},
		{"end, wrapped at spaces and in a long word", smpptest.Screen{
			Text: "Error: Please enter a valid 11-digit phone number.\nTXN-0123456789-0123456789-0123456789.", End: true,
		}, `
┌──────────────────────────────────┐
│ Error: Please enter a valid      │
│ 11-digit phone number.           │
│ TXN-0123456789-0123456789-012345 │
│ 6789.                            │
├──────────────────────────────────┤
│ Session ended                 OK │
└──────────────────────────────────┘
`},
		{"what could drive a terminal, and line ends", smpptest.Screen{Text: "a\x1b[2J\x07b\r\nc\rd é\r\n\n"}, `
┌──────────────────────────────────┐
│ a [2J b                          │
│ c                                │
│ d é                              │
├──────────────────────────────────┤
│ Answer                    Cancel │
└──────────────────────────────────┘
`},
	}
	for _, test := range tests {
		if got := "\n" + test.screen.Frame(); got != test.want {
			t.Errorf("%s:\ngot%s\nwant%s", test.name, got, test.want)
		}
	}
}
