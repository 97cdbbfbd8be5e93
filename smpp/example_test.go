package smpp_test

import (
	"context"
	"log"
	"os"
	"os/signal"
	"time"

	"ussdd/smpp"
)

// A service that greets whoever dials, until it is interrupted.
func ExampleNewLink() {
	link, err := smpp.NewLink(smpp.Config{
		Name:     "mtn",
		Addrs:    []string{"smsc.example.com:2775"},
		Accounts: []smpp.Account{{SystemID: "esme1", Password: os.Getenv("SMSC_PASSWORD")}},
	}, smpp.HandlerFunc(func(e *smpp.Event) {
		if e.Op != smpp.Begin {
			return
		}
		if err := e.Reply("Welcome, "+e.Dialogue.MSISDN, true, time.Now().Add(8*time.Second)); err != nil {
			log.Print(err)
		}
	}))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := link.Run(ctx); err != nil {
		log.Print(err)
	}
}
