package session

// recent is a set of hashes that forgets: a hash is there for at least one
// period, unless more than max come in it, and for less than two. Hashes are of
// 64 bits with a secret seed, so that two names never share one in practice.
type recent struct {
	max        int
	young, old map[uint64]struct{}
}

func (r *recent) add(hash uint64) {
	if len(r.young) >= r.max {
		r.turn()
	}
	if r.young == nil {
		r.young = make(map[uint64]struct{})
	}
	r.young[hash] = struct{}{}
}

func (r *recent) has(hash uint64) bool {
	if _, ok := r.young[hash]; ok {
		return true
	}
	_, ok := r.old[hash]
	return ok
}

func (r *recent) remove(hash uint64) {
	delete(r.young, hash)
	delete(r.old, hash)
}

// turn begins a new period.
func (r *recent) turn() { r.young, r.old = nil, r.young }
