package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// delivery is one delivered transaction, as control lists it.
type delivery struct {
	Provider  string    `json:"provider"`
	Reference string    `json:"reference"`
	Recipient string    `json:"recipient"`
	Amount    int64     `json:"amount_kobo"`
	Network   string    `json:"network"`
	Count     int       `json:"count"` // how often this very reference was delivered; above 1 vendorsim is wrong
	At        time.Time `json:"at"`
}

// controlHandler serves the control API, in which the simulator is told what to
// do wrong and asked what was delivered. Its errors are problem+json (RFC 9457).
func (s *simulator) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /providers/{provider}/fault", s.postFault)
	mux.HandleFunc("POST /providers/{provider}/callback", s.postCallback)
	mux.HandleFunc("GET /deliveries", s.getDeliveries)
	mux.HandleFunc("GET /requests", s.getRequests)
	mux.HandleFunc("POST /reset", s.postReset)
	return mux
}

func (s *simulator) postFault(w http.ResponseWriter, r *http.Request) {
	p, ok := s.provider(r.PathValue("provider"))
	if !ok {
		problem(w, http.StatusNotFound, fmt.Errorf("no provider %q", r.PathValue("provider")))
		return
	}
	var in struct {
		Fault string `json:"fault"`
		Count int    `json:"count"`
	}
	if err := readControl(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, err)
		return
	}
	f, err := parseFault(in.Fault)
	switch {
	case err != nil:
	case in.Count < 0:
		err = fmt.Errorf("count %d is negative", in.Count)
	case in.Count > 0 && (f == faultDown || f == faultNone):
		err = fmt.Errorf("count does not go with %s, which meets no purchases", f)
	}
	if err != nil {
		problem(w, http.StatusBadRequest, err)
		return
	}
	if err := s.setFault(p, f, in.Count); err != nil {
		problem(w, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, http.StatusOK, jsonType, object{"provider": p.name, "fault": f.String(), "count": in.Count})
}

func (s *simulator) getDeliveries(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	reference, recipient := query.Get("reference"), query.Get("recipient")
	list := s.book.deliveries(func(t *transaction) bool {
		return (reference == "" || t.reference == reference || purchaseOf(t.reference) == reference) &&
			(recipient == "" || t.recipient == recipient)
	})
	rows, total := make([]delivery, 0, len(list)), 0
	for _, t := range list {
		rows = append(rows, delivery{t.provider, t.reference, t.recipient, t.amount, t.network, t.count, t.at})
		total += t.count
	}
	writeJSON(w, http.StatusOK, jsonType, object{"deliveries": rows, "delivered": total, "doubled": doubled(list)})
}

func (s *simulator) getRequests(w http.ResponseWriter, _ *http.Request) {
	all := make(map[string]counts, len(s.providers))
	for _, p := range s.providers {
		all[p.name] = s.book.requests(p.name)
	}
	writeJSON(w, http.StatusOK, jsonType, object{"requests": all})
}

func (s *simulator) postReset(w http.ResponseWriter, _ *http.Request) {
	if err := s.reset(); err != nil {
		problem(w, http.StatusInternalServerError, err)
		return
	}
	writeJSON(w, http.StatusOK, jsonType, object{"status": "ok"})
}

// readControl reads a request's JSON into v. Here a field that does not exist is
// an error: a mistyped fault must not pass for one that was set.
func readControl(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

func problem(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, "application/problem+json", object{"status": status, "title": http.StatusText(status), "detail": err.Error()})
}
