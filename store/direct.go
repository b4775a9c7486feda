package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// query is a prepared statement that the writer runs below database/sql. The driver binds
// the arguments of a Query in one step with its first row, but those of an Exec one by one,
// and database/sql looks at each of them again: together that is more than the statement
// itself takes. So statements that change something are run as queries too.
type query struct {
	st    driver.Stmt
	run   driver.StmtQueryContext
	named []driver.NamedValue
	row   []driver.Value
}

func prepare(c driver.Conn, text string) (*query, error) {
	st, err := c.Prepare(text)
	if err != nil {
		return nil, err
	}
	run, ok := st.(driver.StmtQueryContext)
	if !ok {
		st.Close()
		return nil, fmt.Errorf("store: the driver's %T cannot be queried", st)
	}
	return &query{st: st, run: run}, nil
}

// each runs the statement and calls fn, which may be nil, for every row; its values are
// valid during the call. Arguments are nil, int64, string or []byte. It returns the number
// of rows.
func (q *query) each(fn func(row []driver.Value) error, args ...driver.Value) (n int, err error) {
	q.named = q.named[:0]
	for i, a := range args {
		q.named = append(q.named, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	rows, err := q.run.QueryContext(context.Background(), q.named)
	if err != nil {
		return 0, err
	}
	if q.row == nil {
		q.row = make([]driver.Value, len(rows.Columns()))
	}
	for err == nil {
		if err = rows.Next(q.row); err != nil {
			break
		}
		n++
		if fn != nil {
			err = fn(q.row)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, errors.Join(err, rows.Close())
}

func (q *query) close() {
	if q != nil {
		q.st.Close()
	}
}
