package smpptest

import "github.com/fiorix/go-smpp/smpp/pdu"

// Statuses that the SMSC answers with. SMPP 3.4 §5.1.3, but for the last three,
// which are from the vendors' range and as a widespread USSD gateway uses them.
const (
	statusOK                pdu.Status = 0x000
	statusInvalidLength     pdu.Status = 0x001 // text missing
	statusInvalidCommandLen pdu.Status = 0x002
	statusInvalidCommand    pdu.Status = 0x003
	statusInvalidBindState  pdu.Status = 0x004
	statusAlreadyBound      pdu.Status = 0x005
	statusInvalidSource     pdu.Status = 0x00A
	statusBindFailed        pdu.Status = 0x00D
	statusInvalidPassword   pdu.Status = 0x00E
	statusInvalidSystemID   pdu.Status = 0x00F
	statusInvalidService    pdu.Status = 0x015
	statusInvalidESMClass   pdu.Status = 0x043
	statusSubmitFailed      pdu.Status = 0x045 // alphabet unknown
	statusInvalidDestTON    pdu.Status = 0x050
	statusInvalidDestNPI    pdu.Status = 0x051
	statusInvalidTLVLength  pdu.Status = 0x0C2
	statusMissingTLV        pdu.Status = 0x0C3
	statusInvalidTLVValue   pdu.Status = 0x0C4
	statusTextTooLong       pdu.Status = 0x408
	statusNotYourTurn       pdu.Status = 0x40E // the subscriber has not answered the last menu yet
	statusDialogueOver      pdu.Status = 0x4C1 // no such dialogue, or not any more
)
