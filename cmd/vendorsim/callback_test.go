package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ussdd/vendors"
)

// What each provider reports by itself is read by its preset, for the sale that it is about.
func TestCallbacks(t *testing.T) {
	t.Parallel()
	b := presetBench(t)
	set := b.presets(func(name string) string {
		if strings.HasSuffix(name, "-callback") {
			return "token"
		}
		return rightSecret(name)
	})
	heard := make(chan string, 1)
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Content-Type") != jsonType {
			t.Errorf("%v, %v", err, r.Header)
		}
		heard <- string(body)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "thanks")
	}))
	defer daemon.Close()
	for vendor, own := range map[string]bool{"vtpass": false, "africastalking": true} {
		for i, fault := range []string{"pending_delivered", "pending_failed"} {
			b.setFault(vendor, fault, 0)
			e, _ := set.Endpoint(vendor, "mtn")
			ref, err := e.Reference(fmt.Sprint("TXN-", i), b.sim.book.now())
			if err != nil {
				t.Fatal(err)
			}
			sold := e.Vend(context.Background(), vendors.Request{Network: "mtn", Recipient: fmt.Sprint("234803123450", i), Amount: 100_00, Reference: ref})
			var answer struct {
				Status int
				Answer string
			}
			status := b.control("POST", "/providers/"+vendor+"/callback", fmt.Sprintf(`{"reference":%q,"url":%q}`, ref, daemon.URL), &answer)
			if status != http.StatusOK || answer.Status != http.StatusAccepted || answer.Answer != "thanks" {
				t.Fatalf("%d, %+v", status, answer)
			}
			body := receive(t, "report", heard)
			want := vendors.Report{Reference: ref}
			if own {
				want = vendors.Report{VendorRef: sold.VendorRef}
			}
			got, err := set.Callback(vendor, "token", nil, []byte(body))
			if got.Answer = ""; err != nil || got != want || got == (vendors.Report{}) {
				t.Errorf("%s: %+v, %v, want %+v", body, got, err, want)
			}
			if own && strings.Contains(body, ref) {
				t.Errorf("%s knows our reference", body)
			}
		}
	}
	if list := b.deliveries(""); list.Delivered != 2 { // a report comes at the end of a sale
		t.Errorf("%d delivered, want 2", list.Delivered)
	}

	known := fmt.Sprintf(`{"reference":"TXN-0","url":%q}`, daemon.URL)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, of := range []struct {
		provider, body string
		status         int
	}{
		{"nobody", known, http.StatusNotFound},
		{"mtn", known, http.StatusNotFound},
		{"africastalking", `{"reference":"TXN-9","url":"http://127.0.0.1:1"}`, http.StatusNotFound},
		{"africastalking", `{"ref":"TXN-0"}`, http.StatusBadRequest},
		{"africastalking", fmt.Sprintf(`{"reference":"TXN-0","url":%q}`, closed.URL), http.StatusBadGateway},
	} {
		if status := b.control("POST", "/providers/"+of.provider+"/callback", of.body, nil); status != of.status {
			t.Errorf("%s %s: %d, want %d", of.provider, of.body, status, of.status)
		}
	}
}
