package smpptest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu"
	"github.com/fiorix/go-smpp/smpp/pdu/pdutlv"
)

// faultKinds are all faults there are, in the order in which a dialogue meets
// them.
var faultKinds = slices.Concat(bindFaults(), beginFaults(), requestFaults(), linkFaults(), replyFaults(), endFaults(), pushFaults(), textFaults())

const (
	// unknownTag is a parameter that no dialect has.
	unknownTag pdutlv.Tag = 0x3FEF
	// unknownCommand is a command that SMPP doesn't have.
	unknownCommand pdu.ID = 0x55
	// unknownStatus is a command_status that nobody has given a meaning.
	unknownStatus pdu.Status = 0x5F5
	// tagStatusText holds a text about an error. SMPP 3.4 §5.3.2.11.
	tagStatusText pdutlv.Tag = 0x001D
	// countStep is what a gateway that counts in the ESME's bits adds.
	countStep = 3
)

func bindFaults() []*faultKind {
	return []*faultKind{
		{
			name: "early-enquire", at: atBind, chaos: true,
			help:   "before it answers a bind, the SMSC sends enquire_link and awaits its response",
			strike: func(_ *Sim, m *moment, _ Fault) { m.bind.enquire = true },
		},
		{
			name: "already-bound", at: atBind, arg: duration, without: "5s", lasting: true, chaos: true, random: "200ms",
			help: "for so long after a bind has ended, the next with its system_id is refused with 0x05",
			strike: func(s *Sim, m *moment, f Fault) {
				if ended, ok := s.unbound[m.bind.systemID]; ok && s.now().Sub(ended) < f.duration {
					m.bind.status = statusAlreadyBound
				}
			},
		},
		{
			name: "hold-bind", at: atBind,
			help:   "the first of a transmitter and a receiver gets its answer only when the second binds",
			strike: func(_ *Sim, m *moment, _ Fault) { m.bind.pair = true },
		},
	}
}

func beginFaults() []*faultKind {
	return []*faultKind{
		{
			name: "phase-1", at: atBegin,
			help:   "subscribers dial in phase 1 (PSSD): they get one answer and no menu",
			lacks:  func(d *dialect) bool { _, ok := d.in[actBeginOnce]; return !ok },
			strike: func(_ *Sim, m *moment, _ Fault) { m.begin.act = actBeginOnce },
		},
		{
			name: "same-id", at: atBegin, chaos: true,
			help:   "all subscribers' dialogues have the same number",
			lacks:  func(d *dialect) bool { return d.idAlone || d.session.tag == 0 },
			strike: func(_ *Sim, m *moment, _ Fault) { m.begin.repeated = true },
		},
		{
			name: "begin-over", at: atBegin, chaos: true,
			help:   "the dialogue begins while another of the same subscriber is open, of whose end nothing is said",
			strike: func(_ *Sim, m *moment, _ Fault) { m.begin.over = true },
		},
		{
			name: "begin-twice", at: atBegin, chaos: true,
			help:   "each begin is sent twice, one right after the other",
			strike: func(_ *Sim, m *moment, _ Fault) { m.begin.again = true },
		},
	}
}

// requestFaults change how a request is written.
func requestFaults() []*faultKind {
	return []*faultKind{
		{
			name: "duplicate-input", at: atInput, chaos: true,
			help:   "each input is sent twice, one right after the other",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.again = true },
		},
		{
			name: "changing-id", at: atInput, chaos: true,
			help:   "the gateway counts, too, in the octet that the ESME counts in",
			lacks:  func(d *dialect) bool { return d.session.counter == 0 },
			strike: func(_ *Sim, m *moment, _ Fault) { m.dialogue.counter += countStep },
		},
		{
			name: "trailing-cr", at: atInput, chaos: true,
			help:   "a carriage return follows each input",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.text += "\r" },
		},
		{
			name: "trailing-at", at: atInput,
			help:   "an @ follows each input",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.text += "@" },
		},
		{
			name: "dcs", at: atInput, arg: leakedCoding, without: "0x0F", chaos: true, random: "0x0F",
			help: "inputs have a data_coding that has leaked from the network: 0x0F or 0x40 7-bit, 0x44 8-bit, 0x11 or 0x48 UCS2",
			strike: func(_ *Sim, m *moment, f Fault) {
				if c, ok := findCoding(leaked, byte(f.n)); ok {
					m.out.coding = &c
				}
			},
		},
		{
			name: "payload", at: atSend, chaos: true,
			help:   "texts are in message_payload and not in short_message",
			lacks:  func(d *dialect) bool { return d.data },
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.payload = true },
		},
		{
			name: "other-command", at: atSend,
			help:   "begins and inputs come as data_sm in the place of deliver_sm, or the other way round",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.other = true },
		},
		{
			name: "unknown-tlv", at: atSend, chaos: true,
			help: "begins and inputs have parameters that nobody knows, one of them twice",
			strike: func(_ *Sim, m *moment, _ Fault) {
				m.out.tlvs = m.out.tlvs.Append(unknownTag, 1, 2, 3).Append(unknownTag).Append(unknownTag-1, 0)
			},
		},
		{
			name: "truncated-tlv", at: atSend, chaos: true,
			help: "the last parameter of begins and inputs, which nobody knows, is cut off",
			strike: func(_ *Sim, m *moment, _ Fault) {
				m.out.tail = append(binary.BigEndian.AppendUint16(nil, uint16(unknownTag)), 0, 9, 1)
			},
		},
		{
			name: "sm-length", at: atSend, chaos: true,
			help:  "before each begin and input comes one like it whose sm_length reaches past its end",
			lacks: func(d *dialect) bool { return d.data },
			strike: func(_ *Sim, m *moment, _ Fault) {
				m.out.before = append(m.out.before, prelude{from: overlong, bad: true})
			},
		},
		{
			name: "unknown-command", at: atSend, chaos: true,
			help: "before each begin and input comes a PDU with a command that SMPP does not have",
			strike: func(_ *Sim, m *moment, _ Fault) {
				m.out.before = append(m.out.before, prelude{from: unknownPDU, bad: true})
			},
		},
		{
			name: "equal-sequence", at: atSend, chaos: true,
			help:   "begins and inputs have the sequence number of the ESME's last submit_sm",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.repeat = true },
		},
	}
}

// overlong returns a copy of a deliver_sm whose sm_length reaches past the end;
// nil if the frame is another PDU.
func overlong(frame []byte) []byte {
	at, ok := afterAddresses(frame)
	if !ok || binary.BigEndian.Uint32(frame[4:]) != uint32(pdu.DeliverSMID) {
		return nil
	}
	at += 3 // esm_class, protocol_id, priority_flag
	for range 2 {
		at += bytes.IndexByte(frame[at:], 0) + 1 // schedule_delivery_time, validity_period
	}
	at += 4 // registered_delivery, replace_if_present_flag, data_coding, sm_default_msg_id
	frame = bytes.Clone(frame)
	frame[at] = 0xFF
	return frame
}

func unknownPDU([]byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, 16)
	frame = binary.BigEndian.AppendUint32(frame, uint32(unknownCommand))
	return append(frame, make([]byte, 8)...)
}

// linkFaults happen to the connection on which a request was sent, right behind
// it.
func linkFaults() []*faultKind {
	return []*faultKind{
		{
			name: "half-pdu", at: atSend, arg: duration, without: "1h", chaos: true, random: "50ms",
			help:   "begins and inputs stop in their middle, and the rest comes so much later",
			strike: func(_ *Sim, m *moment, f Fault) { m.out.half, m.out.rest = true, f.duration },
		},
		{
			name: "unbind", at: atSend, chaos: true,
			help:   "the SMSC unbinds right after begins and inputs",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.after = append(m.out.after, (*peer).unbind) },
		},
		{
			name: "drop", at: atSend, chaos: true,
			help:   "the SMSC closes the connection right after begins and inputs",
			strike: func(_ *Sim, m *moment, _ Fault) { m.out.after = append(m.out.after, (*peer).drop) },
		},
		{
			name: "stop-reading", at: atSend, arg: duration, without: "5s", chaos: true, random: "100ms",
			help: "after begins and inputs the SMSC reads nothing for so long",
			strike: func(_ *Sim, m *moment, f Fault) {
				m.out.after = append(m.out.after, func(p *peer) { p.pause = f.duration })
			},
		},
		{
			name: "command-length", at: atSend, arg: number, without: "8", chaos: true, random: "8",
			help: "after begins and inputs comes a PDU that says it has so many octets, such as 8, 67108864 or 0x80000000",
			strike: func(_ *Sim, m *moment, f Fault) {
				m.out.after = append(m.out.after, func(p *peer) { p.misframe(f.n) })
			},
		},
	}
}

// replyFaults strike from the acknowledgement of a request to the response to
// its reply.
func replyFaults() []*faultKind {
	refuseWith := func(status pdu.Status) func(*Sim, *moment, Fault) {
		return func(_ *Sim, m *moment, f Fault) { m.sub.refused = excuse(status, "fault %s", f) }
	}
	return []*faultKind{
		{
			name: "abort-before-reply", at: atAck, chaos: true,
			help: "the network breaks dialogues off between the ESME's acknowledgement and its reply",
			strike: func(s *Sim, m *moment, f Fault) {
				if _, err := s.leave(m.dialogue, actReject); err != nil {
					s.log.Warn("abort", "error", err)
				}
				m.dialogue.tell(event{err: broken(f)})
			},
		},
		{
			name: "withhold-resp", at: atSubmit, chaos: true,
			help:   "the response to a question comes only when the subscriber has answered",
			strike: func(_ *Sim, m *moment, _ Fault) { m.sub.hold.afterUser = true },
		},
		{
			name: "input-before-resp", at: atSubmit, chaos: true,
			help:   "the response to a question comes only after the subscriber's answer to it",
			strike: func(_ *Sim, m *moment, _ Fault) { m.sub.hold.afterUser, m.sub.hold.late = true, true },
		},
		{
			name: "delay-resp", at: atSubmit, arg: duration, without: "1s", chaos: true, random: "50ms",
			help:   "the response to a reply comes so much later",
			strike: func(_ *Sim, m *moment, f Fault) { m.sub.hold.delay = f.duration },
		},
		{
			name: "throttle", at: atSubmit, arg: count, without: "1", counted: true, chaos: true, random: "1",
			help:   "so many replies are refused with 0x58, throttled",
			strike: refuseWith(statusThrottled),
		},
		{
			name: "queue-full", at: atSubmit, arg: count, without: "1", counted: true, chaos: true, random: "1",
			help:   "so many replies are refused with 0x14, queue full",
			strike: refuseWith(statusQueueFull),
		},
		{
			name: "overload", at: atSubmit, arg: count, without: "1", counted: true, chaos: true, random: "1",
			help:   "so many replies are refused with 0x64, temporary error",
			strike: refuseWith(statusOverloaded),
		},
		{
			name: "refuse", at: atSubmit, arg: number, without: "0x4C1", chaos: true, random: "0x4C1",
			help:   "replies are refused with this status, and their dialogues end",
			strike: func(s *Sim, m *moment, f Fault) { s.kill(m, f, pdu.Status(f.n)) },
		},
		{
			name: "unknown-status", at: atSubmit, chaos: true,
			help:   "replies are refused with a status that nobody knows, and their dialogues end",
			strike: func(s *Sim, m *moment, f Fault) { s.kill(m, f, unknownStatus) },
		},
		{
			name: "error-body", at: atRefuse, arg: errorBody, without: "tlv", chaos: true, random: "tlv",
			help: "refusals of replies have a body: none, a message_id (id), parameters only (tlv), or both",
			strike: func(_ *Sim, m *moment, f Fault) {
				if f.word == "id" || f.word == "both" {
					m.sub.resp.MessageID = []byte("0")
				}
				if f.word == "tlv" || f.word == "both" {
					m.sub.resp.TLVs = m.sub.resp.TLVs.Append(tagStatusText, []byte("refused\x00")...)
				}
			},
		},
	}
}

// kill refuses a reply and ends its dialogue without a word.
func (s *Sim) kill(m *moment, f Fault, status pdu.Status) {
	m.sub.refused = excuse(status, "fault %s", f)
	m.dialogue.asked = false
	s.forget(m.dialogue, statusDialogueOver)
	m.dialogue.tell(event{err: broken(f)})
}

func endFaults() []*faultKind {
	late := func(a act, text string) func(*Sim, *moment, Fault) {
		return func(s *Sim, m *moment, f Fault) {
			s.ended[m.dialogue.key] = ending{}
			if err := s.ask(m.dialogue, a, text, false); err != nil {
				s.log.Warn("fault", "fault", f, "error", err)
			}
		}
	}
	return []*faultKind{
		{
			name: "silent-death", at: atHangup, chaos: true,
			help:   "subscribers leave and the ESME is not told",
			strike: func(_ *Sim, m *moment, _ Fault) { m.silent = true },
		},
		{
			name: "late-abort", at: atEnd, chaos: true,
			help:   "after the ESME has ended a dialogue, the network says that it has broken it off",
			strike: late(actReject, ""),
		},
		{
			name: "late-input", at: atEnd, chaos: true,
			help:   "after the ESME has ended a dialogue, one more input comes",
			strike: late(actInput, "1"),
		},
	}
}

func pushFaults() []*faultKind {
	refuses := func(name string, status pdu.Status, help string) *faultKind {
		return &faultKind{
			name: name, at: atPush, chaos: true, help: help,
			lacks:  func(d *dialect) bool { return d.out[opening] == nil },
			strike: func(_ *Sim, m *moment, f Fault) { m.sub.refused = excuse(status, "fault %s", f) },
		}
	}
	return []*faultKind{
		refuses("busy", statusSubscriberBusy, "a dialogue that an ESME asks for is refused with 0x49F: the subscriber is busy"),
		refuses("absent", statusAbsentSubscriber, "a dialogue that an ESME asks for is refused with 0x49B: the subscriber is absent"),
		refuses("barred", statusDialogueOver, "a dialogue that an ESME asks for is refused with 0x4C1: it could not be started"),
	}
}

// textFaults strike short messages and their receipts.
func textFaults() []*faultKind {
	return []*faultKind{
		{
			name: "sms-throttle", at: atText, arg: count, without: "1", counted: true, chaos: true, random: "1",
			help:   "so many short messages are refused with 0x58, throttled",
			strike: func(_ *Sim, m *moment, f Fault) { m.sub.refused = excuse(statusThrottled, "fault %s", f) },
		},
		{
			name: "sms-refuse", at: atText, arg: number, without: "0x45", chaos: true, random: "0x45",
			help:   "short messages are refused with this status",
			strike: func(_ *Sim, m *moment, f Fault) { m.sub.refused = excuse(pdu.Status(f.n), "fault %s", f) },
		},
		{
			name: "sms-no-resp", at: atText, chaos: true,
			help:   "short messages are taken and not answered",
			strike: func(_ *Sim, m *moment, _ Fault) { m.sub.withheld = true },
		},
		{
			name: "sms-undelivered", at: atText, chaos: true,
			help:   "receipts say that the short message could not be delivered",
			strike: func(_ *Sim, m *moment, _ Fault) { m.text.Receipt = undelivered },
		},
		{
			name: "sms-no-receipt", at: atText, chaos: true,
			help:   "short messages have no receipt",
			strike: func(_ *Sim, m *moment, _ Fault) { m.text.Receipt = "" },
		},
		{
			name: "sms-bare-receipt", at: atText, chaos: true,
			help:   "receipts say all in their text, with the number of the message in decimal",
			strike: func(_ *Sim, m *moment, _ Fault) { m.text.bare = true },
		},
	}
}

// after calls f, with s.mu held, when d has passed, unless the SMSC or the
// connection has ended by then. The caller holds s.mu.
func (s *Sim) after(d time.Duration, p *peer, f func()) {
	s.wg.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			f()
		case <-p.gone:
		case <-s.done:
		}
	})
}
