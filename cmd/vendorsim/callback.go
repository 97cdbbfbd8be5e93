package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// reporter is an api whose provider reports what became of a sale by itself.
type reporter interface {
	// report is the body of such a report.
	report(t transaction, v verdict) object
}

const (
	reportTime = 10 * time.Second // for a report to be taken
	maxHeard   = 4 << 10          // bytes of the answer to one
)

// postCallback has a provider bring a sale to its end and report it, to whom the
// caller says. What the other side answers is the answer.
func (s *simulator) postCallback(w http.ResponseWriter, r *http.Request) {
	p, ok := s.provider(r.PathValue("provider"))
	if !ok {
		problem(w, http.StatusNotFound, fmt.Errorf("no provider %q", r.PathValue("provider")))
		return
	}
	api, ok := p.api.(reporter)
	if !ok {
		problem(w, http.StatusNotFound, fmt.Errorf("%s reports nothing by itself", p.name))
		return
	}
	var in struct {
		Reference string `json:"reference"`
		URL       string `json:"url"`
	}
	if err := readControl(w, r, &in); err != nil {
		problem(w, http.StatusBadRequest, err)
		return
	}
	t, v := s.book.find(p.name, in.Reference)
	if v == notFound {
		problem(w, http.StatusNotFound, errors.New(v.sentence()))
		return
	}
	status, heard, err := deliverReport(r.Context(), in.URL, api.report(t, v))
	if err != nil {
		problem(w, http.StatusBadGateway, err)
		return
	}
	writeJSON(w, http.StatusOK, jsonType, object{"status": status, "answer": heard})
}

// deliverReport posts a report, and returns what is answered.
func deliverReport(ctx context.Context, url string, report object) (status int, heard string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	body, err := json.Marshal(report)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", jsonType)
	req.Close = true // reports are rare
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxHeard))
	return resp.StatusCode, string(text), err
}
