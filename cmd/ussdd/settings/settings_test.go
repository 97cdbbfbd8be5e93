package settings_test

import (
	"maps"
	"testing"

	"ussdd/cmd/ussdd/settings"
)

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{"MTN": "", "Glo é": "", "电信": `"电信" has '电', which short messages lack`} {
		got := ""
		if err := settings.CheckName(name); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestURLs(t *testing.T) {
	for value, want := range map[string]settings.URLs{
		"":                                {},
		"mtn=http://a/v1, glo=http://b:1": {"mtn": "http://a/v1", "glo": "http://b:1"},
		"mtn=":                            nil,
		"=http://a":                       nil,
		"mtn=http://a,,glo=http://b":      nil,
	} {
		var got settings.URLs
		if err := got.Decode(value); (err == nil) != (want != nil) || want != nil && !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
}
