package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("VENDORSIM_TEST_RUN_MAIN") != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

const patience = time.Minute // for what must happen, however slow the machine

// bench is a running simulator and a client of it.
type bench struct {
	t      *testing.T
	sim    *simulator
	client *http.Client
	log    chan string             // one line for each request that has ended
	waits  chan time.Duration      // what a slow answer asked to wait for
	resume chan time.Time          // ends that wait
	keys   map[string]string       // as the simulator has them
	speak  map[string]conversation // by provider
}

func newBench(t *testing.T, change func(*settings)) *bench {
	t.Helper()
	b := &bench{
		t:      t,
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		log:    make(chan string, 1000),
		waits:  make(chan time.Duration, 1),
		resume: make(chan time.Time),
		speak:  conversations(),
	}
	set := settings{
		listen: "127.0.0.1:0",
		slow:   4 * time.Second,
		float:  1_000_000_00,
		log:    slog.New(slog.NewTextHandler(lines(b.log), nil)),
		now:    func() time.Time { return time.Date(2026, 11, 23, 14, 5, 0, 0, time.UTC) },
		after: func(d time.Duration) <-chan time.Time {
			b.waits <- d
			return b.resume
		},
	}
	if change != nil {
		change(&set)
	}
	b.keys = set.keys
	var err error
	if b.sim, err = newSimulator(set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.sim.stop(expired()) })
	if err := b.sim.open(); err != nil {
		t.Fatal(err)
	}
	return b
}

// lines is a writer that sends each write as one line.
type lines chan<- string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// expired is a grace that is over.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s after %v", what, patience)
		panic("unreachable")
	}
}

// response is an answer, or the error instead of one.
type response struct {
	status int
	header http.Header
	body   string
	err    error
}

func (b *bench) do(ctx context.Context, method, url, contentType, body string, header http.Header) response {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return response{err: err}
	}
	if header != nil {
		r.Header = header
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		return response{err: err}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return response{answer.StatusCode, answer.Header, string(text), err}
}

func (b *bench) url(provider, path string) string {
	b.t.Helper()
	p, ok := b.sim.provider(provider)
	if !ok {
		b.t.Fatalf("no provider %q", provider)
	}
	return "http://" + p.door.addr + path
}

func (b *bench) header(provider string) http.Header {
	h := make(http.Header)
	if key := b.keys[provider]; key != "" {
		b.speak[provider].sign(h, key)
	}
	return h
}

func (b *bench) buy(ctx context.Context, provider string, s sale) response {
	b.t.Helper()
	m := b.speak[provider].buy(s)
	return b.do(ctx, m.method, b.url(provider, m.path), m.contentType, m.body, b.header(provider))
}

func (b *bench) query(provider, reference string) response {
	b.t.Helper()
	m := b.speak[provider].query(reference)
	return b.do(context.Background(), m.method, b.url(provider, m.path), m.contentType, m.body, b.header(provider))
}

// control sends a request to the control API and reads the answer into v.
func (b *bench) control(method, path, body string, v any) int {
	b.t.Helper()
	got := b.do(context.Background(), method, "http://"+b.sim.control.addr+path, "", body, nil)
	if got.err != nil {
		b.t.Fatalf("%s %s: %v", method, path, got.err)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(got.body), v); err != nil {
			b.t.Fatalf("%s %s: %v in %q", method, path, err, got.body)
		}
	}
	return got.status
}

func (b *bench) setFault(provider, fault string, count int) {
	b.t.Helper()
	if status := b.control("POST", "/providers/"+provider+"/fault", fmt.Sprintf(`{"fault":%q,"count":%d}`, fault, count), nil); status != http.StatusOK {
		b.t.Fatalf("set fault %s at %s: HTTP %d", fault, provider, status)
	}
}

type report struct {
	Deliveries []delivery
	Delivered  int
	Doubled    int
}

func (b *bench) deliveries(query string) report {
	b.t.Helper()
	var r report
	if status := b.control("GET", "/deliveries"+query, "", &r); status != http.StatusOK {
		b.t.Fatalf("GET /deliveries: HTTP %d", status)
	}
	return r
}

func (b *bench) requests(provider string) counts {
	b.t.Helper()
	var r struct{ Requests map[string]counts }
	b.control("GET", "/requests", "", &r)
	return r.Requests[provider]
}

// awaitBuy waits until the provider has n purchases, answered or not.
func (b *bench) awaitBuy(provider string, n int) {
	b.t.Helper()
	tick, stop := time.NewTicker(time.Millisecond), time.After(patience)
	defer tick.Stop()
	for b.requests(provider).Buy < n {
		select {
		case <-tick.C:
		case <-stop:
			b.t.Fatalf("%s did not get purchase %d", provider, n)
		}
	}
}

// says checks an answer: its status, and that its JSON has at least what want has.
func (b *bench) says(what string, got response, want says) {
	b.t.Helper()
	if got.err != nil {
		b.t.Errorf("%s: %v", what, got.err)
		return
	}
	var have, need any
	if err := json.Unmarshal([]byte(want.body), &need); err != nil {
		b.t.Fatalf("%s: bad expectation %s", what, want.body)
	}
	if err := json.Unmarshal([]byte(got.body), &have); err != nil || got.status != want.status || !contains(have, need) {
		b.t.Errorf("%s: HTTP %d %s, want HTTP %d with %s", what, got.status, got.body, want.status, want.body)
	}
}

// contains says whether have is want, but for fields of objects that want does not name.
func contains(have, want any) bool {
	fields, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(have, want)
	}
	object, ok := have.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range fields {
		if got, ok := object[name]; !ok || !contains(got, value) {
			return false
		}
	}
	return true
}

// says is what an answer must be.
type says struct {
	status int
	body   string // JSON
}

// message is a request in a provider's manner.
type message struct{ method, path, contentType, body string }

// conversation is how a seller talks to a provider, and what each answer means. It
// is written down here a second time, as sellers know it.
type conversation struct {
	sign    func(h http.Header, key string)
	buy     func(s sale) message
	query   func(reference string) message
	balance string // path
	bought  map[verdict]says
	found   map[verdict]says
	left    func(kobo int64) string // the balance, as JSON
}

func conversations() map[string]conversation {
	recharge := func(id string) conversation {
		return conversation{
			sign: func(h http.Header, key string) { h.Set("X-API-Key", key) },
			buy: func(s sale) message {
				return message{"POST", "/v1/airtime/recharge", "application/json",
					fmt.Sprintf(`{"phone_number":%q,"amount":%d,"reference":%q}`, "0"+s.recipient[3:], s.amount/100, s.reference)}
			},
			query:   func(reference string) message { return message{"GET", "/v1/airtime/transactions/" + reference, "", ""} },
			balance: "/v1/balance",
			left:    func(kobo int64) string { return fmt.Sprintf(`{"data":{"balance":"%d.%02d"}}`, kobo/100, kobo%100) },
			bought: map[verdict]says{
				delivered:    {200, `{"status":"success","data":{"status":"success","transaction_id":"` + id + `-00000001","cost":"97.00"}}`},
				pending:      {202, `{"status":"pending","data":{"status":"pending","transaction_id":"` + id + `-00000001"}}`},
				duplicate:    {409, `{"status":"failed","error":{"code":"DUPLICATE_REFERENCE"}}`},
				badRequest:   {400, `{"status":"failed","error":{"code":"INVALID_REQUEST"}}`},
				badNumber:    {400, `{"status":"failed","error":{"code":"INVALID_NUMBER"}}`},
				badAmount:    {400, `{"status":"failed","error":{"code":"INVALID_AMOUNT"}}`},
				floatLow:     {402, `{"status":"failed","error":{"code":"INSUFFICIENT_FLOAT"}}`},
				notExecuted:  {503, `{"status":"failed","error":{"code":"MAINTENANCE"}}`},
				unauthorized: {401, `{"status":"failed","error":{"code":"UNAUTHORIZED"}}`},
			},
			found: map[verdict]says{
				delivered: {200, `{"status":"success","data":{"status":"success","transaction_id":"` + id + `-00000001","cost":"97.00"}}`},
				failed:    {200, `{"status":"success","data":{"status":"failed","transaction_id":"` + id + `-00000001"}}`},
				notFound:  {404, `{"status":"failed","error":{"code":"NOT_FOUND"}}`},
			},
		}
	}
	code := func(id string) conversation {
		return conversation{
			sign: func(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) },
			buy: func(s sale) message {
				return message{"POST", "/recharges", "application/json",
					fmt.Sprintf(`{"msisdn":%q,"amount_kobo":%d,"client_ref":%q}`, s.recipient, s.amount, s.reference)}
			},
			query: func(reference string) message {
				return message{"POST", "/recharges/query", "application/json", fmt.Sprintf(`{"client_ref":%q}`, reference)}
			},
			balance: "/balance",
			left:    func(kobo int64) string { return fmt.Sprintf(`{"code":"00","balance_kobo":%d}`, kobo) },
			bought: map[verdict]says{
				delivered:    {200, `{"code":"00","state":"DELIVERED","ref":"` + id + `-00000001","cost_kobo":9700}`},
				pending:      {200, `{"code":"09","state":"PENDING","ref":"` + id + `-00000001"}`},
				duplicate:    {200, `{"code":"26"}`},
				badRequest:   {200, `{"code":"30"}`},
				badNumber:    {200, `{"code":"14"}`},
				badAmount:    {200, `{"code":"13"}`},
				floatLow:     {200, `{"code":"51"}`},
				notExecuted:  {200, `{"code":"91"}`},
				unauthorized: {401, `{"code":"40"}`},
			},
			found: map[verdict]says{
				delivered: {200, `{"code":"00","state":"DELIVERED","ref":"` + id + `-00000001","cost_kobo":9700}`},
				failed:    {200, `{"code":"00","state":"FAILED","ref":"` + id + `-00000001"}`},
				notFound:  {200, `{"code":"25"}`},
			},
		}
	}
	return map[string]conversation{
		"mtn":     recharge("MTN"),
		"9mobile": recharge("9M"),
		"airtel":  code("AT"),
		"glo":     code("GLO"),
		"quickvend": {
			sign: func(h http.Header, key string) { h.Set("api-key", key) },
			buy: func(s sale) message {
				service := map[string]string{"9mobile": "etisalat"}[s.network]
				if service == "" {
					service = s.network
				}
				return message{"POST", "/api/pay", "application/x-www-form-urlencoded", url.Values{"request_id": {s.reference},
					"serviceID": {service}, "amount": {fmt.Sprint(s.amount / 100)}, "phone": {"0" + s.recipient[3:]}}.Encode()}
			},
			query: func(reference string) message {
				return message{"POST", "/api/requery", "application/x-www-form-urlencoded", url.Values{"request_id": {reference}}.Encode()}
			},
			balance: "/api/balance",
			left:    func(kobo int64) string { return fmt.Sprintf(`{"contents":{"balance":"%d.%02d"}}`, kobo/100, kobo%100) },
			bought: map[verdict]says{
				delivered:    {200, `{"code":"000","content":{"transactions":{"status":"delivered","transactionId":"QV00000001","total_amount":"97.00"}}}`},
				pending:      {200, `{"code":"099","content":{"transactions":{"status":"pending","transactionId":"QV00000001"}}}`},
				duplicate:    {200, `{"code":"014"}`},
				badRequest:   {200, `{"code":"011"}`},
				badNumber:    {200, `{"code":"011"}`},
				badAmount:    {200, `{"code":"013"}`},
				floatLow:     {200, `{"code":"018"}`},
				notExecuted:  {200, `{"code":"030"}`},
				unauthorized: {401, `{"code":"087"}`},
			},
			found: map[verdict]says{
				delivered: {200, `{"code":"001","content":{"transactions":{"status":"delivered","transactionId":"QV00000001","total_amount":"97.00"}}}`},
				failed:    {200, `{"code":"001","content":{"transactions":{"status":"failed","transactionId":"QV00000001"}}}`},
				notFound:  {200, `{"code":"015"}`},
			},
		},
		"topline": {
			sign: func(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) },
			buy: func(s sale) message {
				return message{"POST", "/topups", "application/json", fmt.Sprintf(
					`{"operator":%q,"amount":"%d.00","customIdentifier":%q,"recipientPhone":{"countryCode":"NG","number":%q}}`,
					strings.ToUpper(s.network), s.amount/100, s.reference, s.recipient)}
			},
			query:   func(reference string) message { return message{"GET", "/topups?customIdentifier=" + reference, "", ""} },
			balance: "/accounts/balance",
			left:    func(kobo int64) string { return fmt.Sprintf(`{"balance":"%d.%02d"}`, kobo/100, kobo%100) },
			bought: map[verdict]says{
				delivered:    {200, `{"transactionId":1,"status":"SUCCESSFUL","balanceInfo":{"cost":"97.00"}}`},
				pending:      {200, `{"transactionId":1,"status":"PROCESSING"}`},
				duplicate:    {400, `{"errorCode":"CUSTOM_IDENTIFIER_ALREADY_USED"}`},
				badRequest:   {400, `{"errorCode":"INVALID_REQUEST"}`},
				badNumber:    {400, `{"errorCode":"INVALID_RECIPIENT_PHONE"}`},
				badAmount:    {400, `{"errorCode":"INVALID_AMOUNT"}`},
				floatLow:     {400, `{"errorCode":"INSUFFICIENT_BALANCE"}`},
				notExecuted:  {400, `{"errorCode":"OPERATOR_UNAVAILABLE_OR_CURRENTLY_INACTIVE"}`},
				unauthorized: {401, `{"errorCode":"INVALID_TOKEN"}`},
			},
			found: map[verdict]says{
				delivered: {200, `{"content":[{"transactionId":1,"status":"SUCCESSFUL","customIdentifier":"TXN-7K","balanceInfo":{"cost":"97.00"}}]}`},
				failed:    {200, `{"content":[{"transactionId":1,"status":"REFUNDED","customIdentifier":"TXN-7K"}]}`},
				notFound:  {200, `{"content":[]}`},
			},
		},
	}
}

// networkOf is a network that the provider sells.
func networkOf(provider string) string {
	switch provider {
	case "quickvend":
		return "9mobile"
	case "topline":
		return "glo"
	}
	return provider
}

// TestFaults buys once from each provider under each fault, and then queries.
func TestFaults(t *testing.T) {
	t.Parallel()
	cases := []struct {
		fault, suffix string
		answer        verdict // 0 = not an answer in the provider's words, see check
		check         func(t *testing.T, got response)
		before        int // deliveries before the query
		found         verdict
		after         int // deliveries after the query
	}{
		{"none", "4567", delivered, nil, 1, delivered, 1},
		{"decline", "9001", badNumber, nil, 0, notFound, 0},
		{"maintenance", "9002", notExecuted, nil, 0, notFound, 0},
		{"error_after", "9005", 0, isServerError, 1, delivered, 1},
		{"error_before", "9006", 0, isServerError, 0, notFound, 0},
		{"reset", "9007", 0, isReset, 1, delivered, 1},
		{"garbage", "9008", 0, isHTML, 1, delivered, 1},
		{"duplicate", "9009", duplicate, nil, 1, delivered, 1},
		{"pending_delivered", "9010", pending, nil, 0, delivered, 1},
		{"pending_failed", "9011", pending, nil, 0, failed, 0},
		{"float", "9012", floatLow, nil, 0, notFound, 0},
		{"twice", "9013", delivered, nil, 1, delivered, 1},
	}
	for provider := range conversations() {
		for _, c := range cases {
			for _, byControl := range []bool{false, true} {
				how, suffix := "number", c.suffix
				if byControl {
					how, suffix = "control", "4567"
				}
				t.Run(provider+"/"+c.fault+"/"+how, func(t *testing.T) {
					t.Parallel()
					b := newBench(t, nil)
					if byControl {
						b.setFault(provider, c.fault, 0)
					}
					s := sale{networkOf(provider), "234803123" + suffix, "TXN-7K", 100_00}
					got := b.buy(context.Background(), provider, s)
					if c.check != nil {
						c.check(t, got)
					} else {
						b.says("purchase", got, b.speak[provider].bought[c.answer])
					}
					b.delivered(provider, s, c.before)
					b.says("query", b.query(provider, s.reference), b.speak[provider].found[c.found])
					b.says("second query", b.query(provider, s.reference), b.speak[provider].found[c.found])
					b.delivered(provider, s, c.after)
					b.balance(provider, 1_000_000_00-97_00*int64(c.after))
				})
			}
		}
	}
}

// delivered checks that the sale was delivered n times, and nothing else was.
func (b *bench) delivered(provider string, s sale, n int) {
	b.t.Helper()
	want := report{Deliveries: []delivery{}, Delivered: n}
	if n > 0 {
		want.Deliveries = append(want.Deliveries, delivery{provider, s.reference, s.recipient, s.amount, s.network, n, b.sim.book.now()})
	}
	if got := b.deliveries(""); !reflect.DeepEqual(got, want) {
		b.t.Errorf("delivered %+v, want %+v", got, want)
	}
}

func (b *bench) balance(provider string, kobo int64) {
	b.t.Helper()
	of := b.speak[provider]
	got := b.do(context.Background(), "GET", b.url(provider, of.balance), "", "", b.header(provider))
	b.says("balance", got, says{200, of.left(kobo)})
}

func isServerError(t *testing.T, got response) {
	t.Helper()
	if got.err != nil || got.status != 500 {
		t.Errorf("HTTP %d, error %v, want HTTP 500", got.status, got.err)
	}
}

func isReset(t *testing.T, got response) {
	t.Helper()
	if !errors.Is(got.err, syscall.ECONNRESET) {
		t.Errorf("HTTP %d, error %v, want a reset connection", got.status, got.err)
	}
}

func isHTML(t *testing.T, got response) {
	t.Helper()
	if got.err != nil || got.status != 200 || got.header.Get("Content-Type") != "text/html" || json.Valid([]byte(got.body)) {
		t.Errorf("HTTP %d %q, error %v, want a page of HTML", got.status, got.body, got.err)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	for provider := range conversations() {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			s := sale{networkOf(provider), "2348031239003", "TXN-7K", 100_00}
			answer := make(chan response, 1)
			go func() { answer <- b.buy(context.Background(), provider, s) }()
			if d := receive(t, "wait", b.waits); d != 4*time.Second {
				t.Errorf("waits for %v", d)
			}
			b.delivered(provider, s, 1)
			select {
			case got := <-answer:
				t.Fatalf("answer before the wait is over: %+v", got)
			default:
			}
			b.resume <- time.Time{}
			b.says("purchase", receive(t, "answer", answer), b.speak[provider].bought[delivered])
		})
	}
}

// Two whole answers come for one request, and the connection serves the next.
func TestTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url("airtel", ""), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	buy := func(reference, recipient string, answers ...string) {
		t.Helper()
		body := fmt.Sprintf(`{"msisdn":%q,"amount_kobo":10000,"client_ref":%q}`, recipient, reference)
		req, err := http.NewRequest("POST", b.url("airtel", "/recharges"), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = b.header("airtel")
		req.Header.Set("Content-Type", jsonType)
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		for _, want := range answers {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Code, Ref string }
			err = json.NewDecoder(resp.Body).Decode(&got)
			resp.Body.Close()
			if err != nil || got.Code != "00" || got.Ref != want {
				t.Errorf("%+v, %v; want a delivery as %s", got, err, want)
			}
		}
	}
	buy("TXN-1", "2348021239013", "AT-00000001", "AT-00000001")
	buy("TXN-2", "2348021234567", "AT-00000002")
}

func TestHangEndsWithTheClient(t *testing.T) {
	t.Parallel()
	for provider := range conversations() {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			s := sale{networkOf(provider), "2348031239004", "TXN-7K", 100_00}
			ctx, leave := context.WithCancel(context.Background())
			answer := make(chan response, 1)
			go func() { answer <- b.buy(ctx, provider, s) }()
			b.awaitBuy(provider, 1)
			select {
			case line := <-b.log:
				t.Fatalf("the request ended by itself: %s", line)
			default:
			}
			leave()
			if got := receive(t, "end of the request", answer); !errors.Is(got.err, context.Canceled) {
				t.Errorf("HTTP %d, error %v", got.status, got.err)
			}
			if line := receive(t, "log line", b.log); !strings.Contains(line, "fault=hang status=0") {
				t.Errorf("log %q", line)
			}
			b.delivered(provider, s, 0)
			b.says("query", b.query(provider, s.reference), b.speak[provider].found[notFound])
		})
	}
}

func TestStopEndsWhatHangs(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	hung, slow := make(chan response, 1), make(chan response, 1)
	go func() {
		hung <- b.buy(context.Background(), "mtn", sale{"mtn", "2348031239004", "A", 100_00})
	}()
	go func() {
		slow <- b.buy(context.Background(), "glo", sale{"glo", "2348031239003", "B", 100_00})
	}()
	b.awaitBuy("mtn", 1)
	receive(t, "wait", b.waits)
	b.sim.stop(context.Background()) // no deadline: it must not need one
	for _, answer := range []chan response{hung, slow} {
		if got := receive(t, "end of the request", answer); got.err == nil {
			t.Errorf("got an answer, HTTP %d", got.status)
		}
	}
}

func TestOneReferenceIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	const at = 40
	for provider := range conversations() {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			s := sale{networkOf(provider), "2348031234567", "TXN-7K", 100_00}
			answers := make(chan response, at)
			var all sync.WaitGroup
			for range at {
				all.Go(func() { answers <- b.buy(context.Background(), provider, s) })
			}
			all.Wait()
			close(answers)
			yes := 0
			for got := range answers {
				if strings.Contains(got.body, "97") {
					yes++
					b.says("first", got, b.speak[provider].bought[delivered])
				} else {
					b.says("repeated", got, b.speak[provider].bought[duplicate])
				}
			}
			if yes != 1 {
				t.Errorf("%d answers say delivered", yes)
			}
			b.delivered(provider, s, 1)
			b.balance(provider, 1_000_000_00-97_00)
			if got := b.requests(provider).Buy; got != at {
				t.Errorf("%d purchases counted, want %d", got, at)
			}
		})
	}
}

func TestReferencesAreEachProvidersOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	s := sale{"mtn", "2348031234567", "TXN-7K", 100_00}
	for _, provider := range []string{"mtn", "quickvend", "topline"} {
		if got := b.buy(context.Background(), provider, s); got.status != 200 {
			t.Fatalf("%s: %+v", provider, got)
		}
	}
	s.reference = "TXN-8M"
	b.buy(context.Background(), "topline", s)
	s.reference = "TXN-8M-2"
	b.buy(context.Background(), "mtn", s)
	s.reference = "TXN-9P-2"
	b.buy(context.Background(), "mtn", s)
	if got := b.deliveries(""); got.Delivered != 6 || got.Doubled != 2 {
		t.Errorf("%d delivered, %d doubled, want 6 and 2", got.Delivered, got.Doubled)
	}
	for query, want := range map[string][2]int{
		"?reference=TXN-7K":                         {3, 1},
		"?reference=TXN-8M":                         {2, 1},
		"?reference=TXN-8M-2":                       {1, 0},
		"?reference=TXN-9P":                         {1, 0},
		"?reference=TXN-0X":                         {0, 0},
		"?recipient=2348031234567":                  {6, 2},
		"?recipient=2348030000000":                  {0, 0},
		"?reference=TXN-8M&recipient=2348031234567": {2, 1},
		"?reference=TXN-8M&recipient=2348030000000": {0, 0},
	} {
		if got := b.deliveries(query); got.Delivered != want[0] || got.Doubled != want[1] || len(got.Deliveries) != want[0] {
			t.Errorf("%s: %d delivered, %d doubled, want %v", query, got.Delivered, got.Doubled, want)
		}
	}
}

// A declined or forgotten reference may be used again; a pending one may not.
func TestReferenceAfterAFault(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]verdict{
		"decline": delivered, "maintenance": delivered, "float": delivered, "error_before": delivered,
		"pending_delivered": duplicate, "pending_failed": duplicate, "error_after": duplicate, "reset": duplicate,
		"garbage": duplicate, "duplicate": duplicate,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.setFault("airtel", fault, 1)
			s := sale{"airtel", "2348021234567", "TXN-7K", 100_00}
			b.buy(context.Background(), "airtel", s)
			b.says("again", b.buy(context.Background(), "airtel", s), b.speak["airtel"].bought[want])
		})
	}
}

func TestFloat(t *testing.T) {
	t.Parallel()
	for provider := range conversations() {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(set *settings) { set.float = 97_00 })
			words := b.speak[provider].bought
			s := sale{networkOf(provider), "2348031234567", "A", 100_00}
			ctx := context.Background()

			b.setFault(provider, "pending_failed", 1)
			b.says("on hold", b.buy(ctx, provider, s), words[pending])
			b.balance(provider, 0)
			s.reference = "B"
			b.says("beyond the float", b.buy(ctx, provider, s), words[floatLow])
			b.query(provider, "A")
			b.balance(provider, 97_00)

			if got := b.buy(ctx, provider, s); got.status != 200 {
				t.Errorf("with money back: HTTP %d %s", got.status, got.body)
			}
			b.balance(provider, 0)
			s.reference, s.recipient = "C", "2348031239007"
			b.says("no float for a fault that delivers", b.buy(ctx, provider, s), words[floatLow])
			if got := b.deliveries(""); got.Delivered != 1 {
				t.Errorf("%d delivered, want 1", got.Delivered)
			}
		})
	}
}
