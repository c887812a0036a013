package importer

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/vitalveil/vitalveil/wearable"
)

// Health Connect exports its SQLite database. A record is of an app and a device; a heart
// rate is a series of samples within one.
func isHealthConnect(p part) bool { return bytes.HasPrefix(p.head, []byte("SQLite format 3\x00")) }

// connectTable is a table whose rows are readings.
type connectTable struct {
	table, time string
	values      []connectValue
	parent      string // the table that says whose the row is; empty: itself
}

type connectValue struct {
	column, metric string
	convert        scale
}

var connectTables = []connectTable{
	{"heart_rate_record_series_table", "epoch_millis", []connectValue{{"beats_per_minute", "heart_rate", same}}, "heart_rate_record_table"},
	{"respiratory_rate_record_table", "time", []connectValue{{"rate", "resp_rate", same}}, ""},
	{"oxygen_saturation_record_table", "time", []connectValue{{"percentage", "spo2", same}}, ""},
	{"body_temperature_record_table", "time", []connectValue{{"temperature", "body_temp", same}}, ""},
	{"blood_pressure_record_table", "time", []connectValue{{"systolic", "bp_systolic", same}, {"diastolic", "bp_diastolic", same}}, ""},
	{"blood_glucose_record_table", "time", []connectValue{{"level", "glucose", perMmol}}, ""}, // mmol/L
}

// maxDatabase is the most bytes that a database in an archive unpacks to.
const maxDatabase = int64(8 << 30)

// readHealthConnect reads the database where it lies, or from a copy that nobody else can
// open, and that is gone when the program is.
func readHealthConnect(r *reading, p part) error {
	name := p.path
	if name == "" {
		dir, err := os.MkdirTemp("", "vitalveil-import-") // 0700
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		name = filepath.Join(dir, "export.db")
		if err := unpack(p, name); err != nil {
			return err
		}
	}
	full, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	location := url.URL{Scheme: "file", Path: filepath.ToSlash(full), RawQuery: strings.Join([]string{
		"mode=ro", "immutable=1", "_pragma=trusted_schema(0)", "_pragma=query_only(1)", "_pragma=cell_size_check(1)", "_pragma=mmap_size(0)",
	}, "&")}
	db, err := sql.Open("sqlite", location.String())
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	return errors.Join(damaged(r.connect(db, p.path != "")), db.Close())
}

func unpack(p part, name string) error {
	in, err := p.open()
	if err != nil {
		return damaged(err)
	}
	defer in.Close()
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, maxDatabase+1))
	if n > maxDatabase {
		err = fmt.Errorf("%w: a database of more than %d bytes", ErrLimit, maxDatabase)
	}
	return errors.Join(damaged(err), out.Close())
}

// connect reads one table after the other.
func (r *reading) connect(db *sql.DB, whole bool) error {
	known := 0
	for i, t := range connectTables {
		if isTable(r.ctx, db, t.table) {
			known++
			if err := r.connectTable(db, t); err != nil {
				return err
			}
		}
		if whole {
			r.done.Store(r.size * int64(i+1) / int64(len(connectTables)))
		}
	}
	if known == 0 {
		return errors.New("a database without a table of Health Connect")
	}
	return nil
}

// isTable tells whether there is a plain table of this name. A view of the name could be any
// computation.
func isTable(ctx context.Context, db *sql.DB, name string) bool {
	var statement string
	err := db.QueryRowContext(ctx, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", name).Scan(&statement)
	return err == nil && len(statement) > 12 && strings.EqualFold(statement[:12], "CREATE TABLE")
}

func (r *reading) connectTable(db *sql.DB, t connectTable) error {
	var columns []string
	for _, v := range t.values {
		columns = append(columns, "s."+v.column)
	}
	owner, join := "s", ""
	if t.parent != "" && isTable(r.ctx, db, t.parent) {
		owner, join = "p", " LEFT JOIN "+t.parent+" p ON p.row_id = s.parent_key"
	}
	names := []string{"''", "''"}
	if t.parent == "" || join != "" {
		for i, x := range []struct{ table, column, key string }{
			{"application_info_table", "package_name", "app_info_id"}, {"device_info_table", "model", "device_info_id"},
		} {
			if isTable(r.ctx, db, x.table) {
				alias := string(rune('x' + i))
				names[i] = fmt.Sprintf("coalesce(%s.%s, '')", alias, x.column)
				join += fmt.Sprintf(" LEFT JOIN %s %s ON %s.row_id = %s.%s", x.table, alias, alias, owner, x.key)
			}
		}
	}
	rows, err := db.QueryContext(r.ctx, "SELECT s."+t.time+", "+strings.Join(names, ", ")+", "+strings.Join(columns, ", ")+" FROM "+t.table+" s"+join)
	if err != nil {
		return err
	}
	defer rows.Close()
	var at, app, device any
	values := make([]any, len(t.values))
	into := []any{&at, &app, &device}
	for i := range values {
		into = append(into, &values[i])
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := r.connectRow(t, at, connectName(app, device), values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// connectName is the device's name, or else the app's.
func connectName(app, device any) string {
	for _, n := range []any{device, app} {
		if s, ok := n.(string); ok && s != "" {
			return s
		}
	}
	return "Health Connect"
}

func (r *reading) connectRow(t connectTable, at any, device string, values []any) error {
	ms, ok := at.(int64)
	seconds, plausible := millis(ms)
	for i, v := range t.values {
		if !ok || !plausible {
			r.drop(DropTime)
			continue
		}
		x, ok := number(values[i])
		if ok {
			x, ok = v.convert.of(x)
		}
		if !ok {
			r.drop(DropValue)
			continue
		}
		if err := r.emit(Reading{Metric: v.metric, Time: seconds, Value: x, Device: device}); err != nil {
			return err
		}
	}
	return nil
}

// number is what a column may hold.
func number(x any) (wearable.Decimal, bool) {
	switch n := x.(type) {
	case int64:
		if n > 1e15 || n < -1e15 {
			return wearable.Decimal{}, false
		}
		return wearable.Int(n), true
	case float64:
		return float(n)
	}
	return wearable.Decimal{}, false
}
