package session

import (
	"sync/atomic"
	"time"
)

type counts struct {
	begun, pushed, steps, repeated, late, refused, unsent, overload, noService, resumed atomic.Int64
	droppedSteps, droppedRecords, writeErrors, slowWrites                               atomic.Int64
	ended                                                                               []atomic.Int64 // by index in Reasons
}

func (c *counts) end(r Reason) {
	for i, known := range Reasons {
		if r == known {
			c.ended[i].Add(1)
			return
		}
	}
}

// Stats is a snapshot of an engine's counters. All but Live, InFlight, Pending
// and Behind only grow.
type Stats struct {
	Live           int64         // sessions in memory
	InFlight       int           // actions and store look-ups under way
	Pending        int           // steps waiting to be written
	Behind         time.Duration // what was so this long ago is stored; steps may take longer
	Begun          int64         // sessions that began
	Pushed         int64         // of these, the ones that Push began
	Steps          int64         // menu steps taken
	Repeated       int64         // events dropped as repetitions: a begin again, an input before its screen
	Late           int64         // events of dialogues that had ended
	Refused        int64         // replies that the SMSC refused
	Unsent         int64         // replies that no link could take
	Overload       int64         // begins and actions refused for lack of room, or while draining
	NoService      int64         // begins with a code that no service has
	Resumed        int64         // sessions that went on from the store
	DroppedSteps   int64         // steps lost because the store was away too long, or will not take them
	DroppedRecords int64         // sessions whose state was not stored, for want of room or because the store will not take it
	WriteErrors    int64         // failed batch writes; the batch is written again
	SlowWrites     int64         // times that writing behind took more than a second
	Ended          map[Reason]int64
}

// Stats gives the counters as they are now.
func (e *Engine) Stats() Stats {
	c := &e.counts
	s := Stats{
		Live: e.live.Load(), InFlight: e.flights.inFlight() + e.checks.inFlight(), Pending: e.pending(), Behind: e.behind(),
		Begun: c.begun.Load(), Pushed: c.pushed.Load(), Steps: c.steps.Load(), Repeated: c.repeated.Load(), Late: c.late.Load(),
		Refused: c.refused.Load(), Unsent: c.unsent.Load(), Overload: c.overload.Load(),
		NoService: c.noService.Load(), Resumed: c.resumed.Load(),
		DroppedSteps: c.droppedSteps.Load(), DroppedRecords: c.droppedRecords.Load(), WriteErrors: c.writeErrors.Load(), SlowWrites: c.slowWrites.Load(),
		Ended: make(map[Reason]int64, len(Reasons)),
	}
	for i, r := range Reasons {
		s.Ended[r] = c.ended[i].Load()
	}
	return s
}
