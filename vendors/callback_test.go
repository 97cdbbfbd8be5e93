package vendors_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"ussdd/vendors"
)

const callbackToken = "aB3-_aB3-_aB3-_x"

// What a report is read for, and what becomes of those that nobody was asked for.
func TestCallback(t *testing.T) {
	opt := vendors.Options{Secrets: func(name string) (string, bool) {
		s, ok := map[string]string{"acme-callback": callbackToken + "\n", "acme-callback-next": "the-other-of-the-two"}[name]
		return s, ok
	}}
	for _, test := range []struct {
		reference, vendorRef, vendor, token, query, body string
		want, problem                                    string
	}{
		{reference: "{json: data.ref}", body: `{"data":{"ref":"TXN-1","state":"DONE"}}`, want: "TXN-1"},
		{reference: "{json: [a, data.ref]}", body: `{"data":{"ref":"TXN-1"}}`, want: "TXN-1"},
		{reference: "{json: data.ref}", body: `{"data":{"ref":17}}`, want: "17"},
		{reference: "{form: ref}", body: "state=DONE&ref=TXN-1", want: "TXN-1"},
		{reference: "{param: ref}", query: "ref=TXN-1", body: "{", want: "TXN-1"},
		{reference: "{json: ref}", token: "the-other-of-the-two", body: `{"ref":"TXN-1"}`, want: "TXN-1"},

		{reference: "{json: ref, form: ref, param: id}", body: `{"ref":"TXN-1"}`, query: "id=TXN-3", want: "TXN-1"},
		{reference: "{json: ref, form: ref, param: id}", body: `ref=TXN-2`, query: "id=TXN-3", want: "TXN-2"},
		{reference: "{json: ref, form: ref, param: id}", body: `{"ref":[]}`, query: "id=TXN-3", want: "TXN-3"},
		{vendorRef: "{json: id}", body: `{"id":"ATQid_1 a"}`, want: "ATQid_1 a"},
		{vendorRef: "{json: id}", body: `{"id":"` + strings.Repeat("9", 100) + `"}`, want: strings.Repeat("9", 100)},

		{reference: "{json: ref}", body: `{"ref":`, problem: "acme: callback: no reference where it should be"},
		{reference: "{json: ref}", body: `{"ref":"TXN-1"}{"ref":"TXN-1"}`, problem: "acme: callback: no reference where it should be"},
		{reference: "{form: ref}", body: `ref=%zz`, problem: "acme: callback: no reference where it should be"},
		{vendorRef: "{json: id}", body: `{"id":""}`, problem: "acme: callback: no reference where it should be"},
		{vendorRef: "{json: id}", body: `{"id":"a
b"}`, problem: "acme: callback: no reference where it should be"},
		{vendorRef: "{json: id}", body: `{"id":"` + strings.Repeat("9", 101) + `"}`, problem: "acme: callback: no reference where it should be"},
		{reference: "{json: ref}", body: `{"ref":""}`, problem: "acme: callback: no reference where it should be"},
		{reference: "{json: ref}", body: `{"ref":"a b"}`, problem: "acme: callback: no reference where it should be"},
		{reference: "{form: ref}", body: "x=1", problem: "acme: callback: no reference where it should be"},

		{reference: "{json: ref}", vendor: "bolt", body: `{"ref":"TXN-1"}`, problem: "vendors: no such callback"},
		{reference: "{json: ref}", token: "wrong", body: `{"ref":"TXN-1"}`, problem: "vendors: no such callback"},
		{reference: "{json: ref}", token: " ", body: `{"ref":"TXN-1"}`, problem: "vendors: no such callback"},
	} {
		at := "reference: " + test.reference
		if test.vendorRef != "" {
			at = "vendor_ref: " + test.vendorRef
		}
		text := acme + "callback: {secret: acme-callback, " + at + ", answer: '{\"heard\":true}'}\n"
		set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", text), opt)
		if err != nil {
			t.Fatal(err)
		}
		vendor, token := test.vendor, strings.TrimSpace(test.token)
		if vendor == "" {
			vendor = "acme"
		}
		if test.token == "" {
			token = callbackToken
		}
		query, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := set.Callback(vendor, token, query, []byte(test.body))
		want := vendors.Report{Reference: test.want, Answer: `{"heard":true}`}
		if test.vendorRef != "" {
			want.Reference, want.VendorRef = "", test.want
		}
		switch {
		case test.problem == "" && (err != nil || got != want):
			t.Errorf("%s of %s: %+v, %v", at, test.body, got, err)
		case test.problem != "" && (err == nil || err.Error() != test.problem || got != vendors.Report{}):
			t.Errorf("%s of %s: %+v, %v, want %s", at, test.body, got, err, test.problem)
		}
	}
}

// Without the secret there is no address that anybody could report to.
func TestCallbackWithoutSecret(t *testing.T) {
	set, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme+"callback: {secret: acme-callback, reference: {json: ref}}\n"), vendors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"", "acme-callback"} {
		if got, err := set.Callback("acme", token, nil, []byte(`{"ref":"TXN-1"}`)); !errors.Is(err, vendors.ErrNoCallback) {
			t.Errorf("%q: %+v, %v", token, got, err)
		}
	}
}

func TestCallbackSecretThatFitsNoAddress(t *testing.T) {
	_, err := vendors.Load(files("routes.yaml", routes, "acme.yaml", acme+"callback: {secret: acme-key, reference: {json: ref}}\n"), vendors.Options{Secrets: secrets})
	want := `acme.yaml:26: callback.secret: secret "acme-key" must be at most 128 letters, digits, dashes and underscores: it stands in an address`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
