package vendors_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ussdd/vendors"
)

const (
	amina = "2348031234567"
	txn   = "TXN-0C8M1T5XJ4Q2A"
)

func hundred(network string) vendors.Request {
	return vendors.Request{Network: network, Recipient: amina, Amount: 100_00, Reference: txn}
}

// another is a hundred for MTN under a reference of its own.
func another(reference string) vendors.Request {
	r := hundred("mtn")
	r.Reference = reference
	return r
}

// endpoint finds the first endpoint of a vendor that a set sells by.
func endpoint(t testing.TB, set *vendors.Set, vendor string) *vendors.Endpoint {
	t.Helper()
	for _, e := range set.Endpoints() {
		if e.Vendor() == vendor {
			return e
		}
	}
	t.Fatalf("no endpoint of %s", vendor)
	return nil
}

// Each file of testdata/answers has the answers of one of the built-in vendors, and what each must
// mean for the money.
func TestAnswers(t *testing.T) {
	names, err := filepath.Glob("testdata/answers/*.http")
	if err != nil || len(names) != 6 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		vendor := strings.TrimSuffix(filepath.Base(name), ".http")
		t.Run(vendor, func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				var raw string
				p := &pipes{serve: func(c net.Conn, r *bufio.Reader) {
					if hear(r) {
						_, _ = io.WriteString(c, raw)
					}
				}}
				defer p.done.Wait()
				set, err := vendors.Load(vendors.Builtin(), vendors.Options{Dial: p.dial})
				if err != nil {
					t.Fatal(err)
				}
				e := endpoint(t, set, vendor)
				for i, section := range strings.Split("\n"+string(data), "\n== ")[1:] {
					var want string
					want, raw, _ = strings.Cut(section, "\n")
					raw, _, _ = strings.Cut(raw, "\n#") // about the next one
					raw = strings.TrimRight(raw, "\n")
					if !strings.Contains(raw, "\n\n") {
						raw += "\n\n" // no body
					}
					got, status, detail := answered(t, e, want)
					if got != want {
						t.Errorf("%d: got %s (%s), want %s", i+1, got, detail, want)
					}
					if !strings.HasPrefix(raw, fmt.Sprint("HTTP/1.1 ", status, " ")) || !strings.HasPrefix(detail, fmt.Sprint("HTTP ", status)) {
						t.Errorf("%d: status %d, detail %q", i+1, status, detail)
					}
					after(10 * time.Minute) // the breakers forget
				}
			})
		})
	}
}

// answered makes the call that want begins with, and writes down what came of it like want.
func answered(t *testing.T, e *vendors.Endpoint, want string) (got string, status int, detail string) {
	var words []string
	var vendorRef string
	var cost int64
	if strings.HasPrefix(want, "vend ") {
		r := e.Vend(t.Context(), hundred(e.Network()))
		if !r.Sent {
			t.Error("not sent")
		}
		words = []string{"vend", r.Outcome.String(), r.Reason}
		if r.Final {
			words = append(words, "final")
		}
		vendorRef, cost, status, detail = r.VendorRef, r.Cost, r.HTTPStatus, r.Detail
	} else {
		f := e.Query(t.Context(), hundred(e.Network()), "")
		words = []string{"query", f.State.String(), f.Reason}
		vendorRef, cost, status, detail = f.VendorRef, f.Cost, f.HTTPStatus, f.Detail
	}
	if vendorRef != "" {
		words = append(words, "ref="+vendorRef)
	}
	if cost != 0 {
		words = append(words, fmt.Sprint("cost=", cost))
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " "), status, detail
}

// The requests of the built-in vendors, byte for byte.
func TestRequests(t *testing.T) {
	for _, test := range []struct{ vendor, vend, query string }{
		{"mtn",
			"POST /v1/airtime/recharge application/json\n" +
				`{"phone_number":"08031234567","amount":100,"reference":"TXN-0C8M1T5XJ4Q2A"}`,
			"GET /v1/airtime/transactions/TXN-0C8M1T5XJ4Q2A \n"},
		{"airtel",
			"POST /recharges application/json\n" +
				`{"msisdn":"2348031234567","amount_kobo":10000,"client_ref":"TXN-0C8M1T5XJ4Q2A"}`,
			"POST /recharges/query application/json\n" + `{"client_ref":"TXN-0C8M1T5XJ4Q2A"}`},
		{"quickvend",
			"POST /api/pay application/x-www-form-urlencoded\n" +
				"request_id=TXN-0C8M1T5XJ4Q2A&serviceID=etisalat&amount=100&phone=08031234567",
			"POST /api/requery application/x-www-form-urlencoded\nrequest_id=TXN-0C8M1T5XJ4Q2A"},
		{"topline",
			"POST /topups application/json\n" +
				`{"operator":"9MOBILE","amount":"100.00","customIdentifier":"TXN-0C8M1T5XJ4Q2A","recipientPhone":{"countryCode":"NG","number":"2348031234567"}}`,
			"GET /topups?customIdentifier=TXN-0C8M1T5XJ4Q2A \n"},
	} {
		t.Run(test.vendor, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got string
				p := &pipes{serve: func(c net.Conn, r *bufio.Reader) {
					req, err := http.ReadRequest(r)
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(req.Body)
					if err != nil {
						t.Error(err)
					}
					got = fmt.Sprintf("%s %s %s\n%s", req.Method, req.RequestURI, req.Header.Get("Content-Type"), body)
					if req.Header.Get("Authorization")+req.Header.Get("X-Api-Key")+req.Header.Get("Api-Key") != "" {
						t.Error("credentials without a secret")
					}
				}}
				defer p.done.Wait()
				set, err := vendors.Load(vendors.Builtin(), vendors.Options{Dial: p.dial})
				if err != nil {
					t.Fatal(err)
				}
				e := endpoint(t, set, test.vendor) // 9mobile of the aggregators
				e.Vend(context.Background(), hundred(e.Network()))
				if got != test.vend {
					t.Errorf("vend\n%s\nwant\n%s", got, test.vend)
				}
				e.Query(context.Background(), hundred(e.Network()), "")
				if got != test.query {
					t.Errorf("query\n%s\nwant\n%s", got, test.query)
				}
			})
		})
	}
}
