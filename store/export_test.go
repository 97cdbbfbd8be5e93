package store

// Variable reads a server variable through the connections of db.
func Variable(db *DB, name string) (value string) {
	if err := db.w.Get(&value, "SELECT @@SESSION."+name); err != nil {
		return err.Error()
	}
	return value
}
