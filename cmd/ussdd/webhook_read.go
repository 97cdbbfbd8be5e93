package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// text is a JSON string or number, as written.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = text(s)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("neither text nor number: %.40s", b)
	}
	*t = text(n)
	return nil
}

// naira reads an amount in naira, "180000.00", as kobo. It may have zeros behind
// the kobo and no parts of one.
func (t text) naira() (int64, error) {
	whole, part, _ := strings.Cut(string(t), ".")
	part = strings.TrimRight(part, "0")
	if len(part) > 2 || whole == "" || strings.Trim(whole+part, "0123456789") != "" {
		return 0, fmt.Errorf("amount %.40q is not naira and kobo", string(t))
	}
	return kobo(whole + (part + "00")[:2])
}

func kobo(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("amount of %.40q kobo", s)
	}
	return n, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// received is d, paid, if it has a reference.
func received(d deposit, err error) (deposit, news, error) {
	d.Reference, d.Account = strings.TrimSpace(d.Reference), strings.TrimSpace(d.Account)
	if err == nil && d.Reference == "" {
		err = errors.New("no reference")
	}
	return d, paid, err
}

// newsOf is what a report of this event tells, received being the name of the one
// for a deposit.
func newsOf(event, received string) news {
	if event == received {
		return paid
	}
	event = strings.ToLower(event)
	for _, word := range []string{"refund", "dispute", "chargeback", "revers"} {
		if strings.Contains(event, word) {
			return undone
		}
	}
	return other
}

// readPaystack reads event charge.success. Its amount is in kobo. The account is
// the dedicated one that received the money, or else the customer's code.
func readPaystack(body []byte) (deposit, news, error) {
	var r struct {
		Event string
		Data  json.RawMessage // of many shapes
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return deposit{}, other, err
	}
	switch newsOf(r.Event, "charge.success") {
	case other:
		return deposit{}, other, nil
	case undone:
		var refund struct {
			Reference string `json:"transaction_reference"`
		}
		_ = json.Unmarshal(r.Data, &refund) // a dispute has it elsewhere
		return deposit{Reference: refund.Reference}, undone, nil
	}
	var charge struct {
		Reference, Currency, Status string
		Amount                      json.Number
		Authorization               struct {
			Receiver text `json:"receiver_bank_account_number"`
		}
		Metadata json.RawMessage
		Customer struct {
			Code string `json:"customer_code"`
		}
	}
	if err := json.Unmarshal(r.Data, &charge); err != nil {
		return deposit{}, other, err
	}
	if charge.Status != "success" {
		return deposit{}, other, nil
	}
	var metadata struct {
		Receiver text `json:"receiver_account_number"`
	}
	if bytes.HasPrefix(charge.Metadata, []byte("{")) { // else "", or another shape that is none of ours
		if err := json.Unmarshal(charge.Metadata, &metadata); err != nil {
			return deposit{}, other, err
		}
	}
	amount, err := kobo(charge.Amount.String())
	return received(deposit{Reference: charge.Reference, Currency: charge.Currency, Amount: amount,
		Account: first(string(charge.Authorization.Receiver), string(metadata.Receiver), charge.Customer.Code)}, err)
}

// readMonnify reads event SUCCESSFUL_TRANSACTION. Its amounts are naira, as
// numbers or texts. The account is the reserved one's number, or else our
// reference of it.
func readMonnify(body []byte) (deposit, news, error) {
	var r struct {
		EventType string
		EventData json.RawMessage // of many shapes
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return deposit{}, other, err
	}
	what := newsOf(r.EventType, "SUCCESSFUL_TRANSACTION")
	if what == other {
		return deposit{}, other, nil
	}
	var d struct {
		TransactionReference, PaymentStatus, Currency string
		AmountPaid                                    text
		Product                                       struct{ Reference string }
		Destination                                   struct{ AccountNumber text } `json:"destinationAccountInformation"`
	}
	err := json.Unmarshal(r.EventData, &d)
	switch {
	case what == undone:
		return deposit{Reference: d.TransactionReference}, undone, nil
	case err != nil:
		return deposit{}, other, err
	case d.PaymentStatus != "PAID":
		return deposit{}, other, nil
	}
	amount, err := d.AmountPaid.naira()
	return received(deposit{Reference: d.TransactionReference, Currency: first(d.Currency, "NGN"), Amount: amount,
		Account: first(string(d.Destination.AccountNumber), d.Product.Reference)}, err)
}

// flutterwaveCharge is a charge in Flutterwave's reports and answers.
type flutterwaveCharge struct {
	ID        text
	Status    string
	Amount    text // naira
	Currency  string
	TxRef     string `json:"tx_ref"`
	Reference string
}

// deposit is the charge's, to the account whose reference, which we gave it, the
// charge has.
func (c flutterwaveCharge) deposit() (deposit, news, error) {
	if c.Status != "successful" && c.Status != "succeeded" { // of version 3 and of version 4
		return deposit{}, other, nil
	}
	amount, err := c.Amount.naira()
	return received(deposit{Reference: string(c.ID), Currency: c.Currency, Amount: amount, Account: first(c.TxRef, c.Reference)}, err)
}

// readFlutterwave reads event charge.completed of versions 3 and 4.
func readFlutterwave(body []byte) (deposit, news, error) {
	var r struct {
		Event, Type string
		Data        json.RawMessage // of many shapes
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return deposit{}, other, err
	}
	what := newsOf(first(r.Event, r.Type), "charge.completed")
	if what == other {
		return deposit{}, other, nil
	}
	var charge flutterwaveCharge
	err := json.Unmarshal(r.Data, &charge)
	switch {
	case what == undone:
		return deposit{Reference: string(charge.ID)}, undone, nil
	case err != nil:
		return deposit{}, other, err
	}
	return charge.deposit()
}

// verifyFlutterwave asks Flutterwave's API of version 3 at base, with the secret
// key, whether it has the deposit.
func verifyFlutterwave(client *http.Client, base, key string) verifier {
	return func(ctx context.Context, d deposit) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/v3/transactions/"+url.PathEscape(d.Reference)+"/verify", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("verify: HTTP status %d", res.StatusCode)
		}
		var answer struct {
			Status string
			Data   flutterwaveCharge
		}
		if err := json.NewDecoder(io.LimitReader(res.Body, maxReport)).Decode(&answer); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		theirs, what, err := answer.Data.deposit()
		switch {
		case err != nil:
			return fmt.Errorf("verify: %w", err)
		case answer.Status != "success" || what != paid || theirs != d:
			return errors.New("verify: the provider has another charge of that id")
		}
		return nil
	}
}
