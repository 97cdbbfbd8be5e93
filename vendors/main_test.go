package vendors_test

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http's word on what comes without having been asked for
	goleak.VerifyTestMain(m)
}
