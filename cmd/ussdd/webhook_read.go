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

// complete is d if it has a reference.
func complete(d deposit, err error) (deposit, bool, error) {
	if err == nil && d.Reference == "" {
		err = errors.New("no reference")
	}
	return d, err == nil, err
}

// readPaystack reads event charge.success. Its amount is in kobo. The account is
// the dedicated one that received the money, or else the customer's code.
func readPaystack(body []byte) (deposit, bool, error) {
	var r struct {
		Event string
		Data  struct {
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
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return deposit{}, false, err
	}
	if r.Event != "charge.success" || r.Data.Status != "success" {
		return deposit{}, false, nil
	}
	var metadata struct {
		Receiver text `json:"receiver_account_number"`
	}
	if bytes.HasPrefix(r.Data.Metadata, []byte("{")) { // else "", or another shape that is none of ours
		if err := json.Unmarshal(r.Data.Metadata, &metadata); err != nil {
			return deposit{}, false, err
		}
	}
	amount, err := kobo(r.Data.Amount.String())
	return complete(deposit{Reference: r.Data.Reference, Currency: r.Data.Currency, Amount: amount,
		Account: first(string(r.Data.Authorization.Receiver), string(metadata.Receiver), r.Data.Customer.Code)}, err)
}

// readMonnify reads event SUCCESSFUL_TRANSACTION. Its amounts are naira, as
// numbers or texts. The account is the reserved one's number, or else our
// reference of it.
func readMonnify(body []byte) (deposit, bool, error) {
	var r struct {
		EventType string
		EventData struct {
			TransactionReference, PaymentStatus, Currency string
			AmountPaid                                    text
			Product                                       struct{ Reference string }
			Destination                                   struct{ AccountNumber text } `json:"destinationAccountInformation"`
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return deposit{}, false, err
	}
	d := r.EventData
	if r.EventType != "SUCCESSFUL_TRANSACTION" || d.PaymentStatus != "PAID" {
		return deposit{}, false, nil
	}
	amount, err := d.AmountPaid.naira()
	return complete(deposit{Reference: d.TransactionReference, Currency: first(d.Currency, "NGN"), Amount: amount,
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
func (c flutterwaveCharge) deposit() (deposit, bool, error) {
	if c.Status != "successful" && c.Status != "succeeded" { // of version 3 and of version 4
		return deposit{}, false, nil
	}
	amount, err := c.Amount.naira()
	return complete(deposit{Reference: string(c.ID), Currency: c.Currency, Amount: amount, Account: first(c.TxRef, c.Reference)}, err)
}

// readFlutterwave reads event charge.completed of versions 3 and 4.
func readFlutterwave(body []byte) (deposit, bool, error) {
	var r struct {
		Event, Type string
		Data        flutterwaveCharge
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return deposit{}, false, err
	}
	if first(r.Event, r.Type) != "charge.completed" {
		return deposit{}, false, nil
	}
	return r.Data.deposit()
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
		theirs, paid, err := answer.Data.deposit()
		switch {
		case err != nil:
			return fmt.Errorf("verify: %w", err)
		case answer.Status != "success" || !paid || theirs != d:
			return errors.New("verify: the provider has another charge of that id")
		}
		return nil
	}
}
