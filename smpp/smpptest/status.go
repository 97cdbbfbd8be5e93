package smpptest

import (
	"fmt"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// Statuses that the SMSC answers with. SMPP 3.4 §5.1.3; those from 0x400 on are
// from the vendors' range and as a widespread USSD gateway uses them.
const (
	statusOK                pdu.Status = 0x000
	statusInvalidLength     pdu.Status = 0x001 // text missing
	statusInvalidCommandLen pdu.Status = 0x002
	statusInvalidCommand    pdu.Status = 0x003
	statusInvalidBindState  pdu.Status = 0x004
	statusAlreadyBound      pdu.Status = 0x005
	statusInvalidSource     pdu.Status = 0x00A
	statusInvalidDest       pdu.Status = 0x00B
	statusBindFailed        pdu.Status = 0x00D
	statusInvalidPassword   pdu.Status = 0x00E
	statusInvalidSystemID   pdu.Status = 0x00F
	statusQueueFull         pdu.Status = 0x014
	statusInvalidService    pdu.Status = 0x015
	statusInvalidESMClass   pdu.Status = 0x043
	statusSubmitFailed      pdu.Status = 0x045 // alphabet unknown
	statusInvalidDestTON    pdu.Status = 0x050
	statusInvalidDestNPI    pdu.Status = 0x051
	statusThrottled         pdu.Status = 0x058
	statusOverloaded        pdu.Status = 0x064
	statusWrongState        pdu.Status = 0x066 // the operation has no place in this kind of dialogue
	statusInvalidTLVLength  pdu.Status = 0x0C2
	statusMissingTLV        pdu.Status = 0x0C3
	statusInvalidTLVValue   pdu.Status = 0x0C4
	statusTextTooLong       pdu.Status = 0x408
	statusNotYourTurn       pdu.Status = 0x40E // the subscriber has not answered the last menu yet
	statusUserAborted       pdu.Status = 0x455 // the subscriber left
	statusNetworkAborted    pdu.Status = 0x460 // the network lost the subscriber
	statusUnknownSubscriber pdu.Status = 0x481
	statusAbsentSubscriber  pdu.Status = 0x49B
	statusSubscriberBusy    pdu.Status = 0x49F
	statusDialogueOver      pdu.Status = 0x4C1 // no such dialogue, or not any more
	statusDialogueOpen      pdu.Status = 0x4C8 // the subscriber has a dialogue
)

// vendorStatuses are the meanings of statuses that SMPP leaves to vendors.
var vendorStatuses = map[pdu.Status]string{
	statusTextTooLong:       "text too long",
	statusNotYourTurn:       "the subscriber has not answered yet",
	statusUserAborted:       "the subscriber left",
	statusNetworkAborted:    "the network lost the subscriber",
	statusUnknownSubscriber: "unknown subscriber",
	statusAbsentSubscriber:  "absent subscriber",
	statusSubscriberBusy:    "subscriber busy",
	statusDialogueOver:      "no such dialogue",
	statusDialogueOpen:      "the subscriber has a dialogue",
}

// statusText is a command_status in hexadecimal with its meaning, if it has a
// known one.
func statusText(status pdu.Status) string {
	if status == statusOK {
		return "ok"
	}
	if text, ok := vendorStatuses[status]; ok {
		return fmt.Sprintf("0x%x (%s)", uint32(status), text)
	}
	return fmt.Sprintf("0x%02x (%s)", uint32(status), status.Error())
}
