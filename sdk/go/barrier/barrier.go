// Package barrier runs a saga participant's own database change and the barrier's row in one transaction (PostgreSQL, pgx), so that an
// operation takes place once however often it is asked for, an undo without an action does nothing, and an action that comes after its
// undo is refused. barrier.sql has the table and the statements.
package barrier

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed barrier.sql
var source string

var statements = load(source)

// Retention is how long a row answers repeats: as long as the service may ask.
const Retention = 7 * 24 * time.Hour

const (
	twinWaitMs  = 150
	retryAfter  = 200 * time.Millisecond
	attemptsMax = 5
)

// Op is the operation of a step.
type Op string

// The operations of a step.
const (
	Action     Op = "action"
	Compensate Op = "compensate"
	Confirm    Op = "confirm"
)

// Task is what a task says of its operation (message Task).
type Task struct {
	// Tenant comes from x-tenant-id; empty when a participant serves one tenant.
	Tenant string `json:"tenant"`
	// Saga is execution_id.
	Saga string `json:"saga"`
	// Step is step_path.
	Step string `json:"step"`
	Op   Op     `json:"op"`
	// Generation of an undo, from 0.
	Generation int `json:"generation"`
	// Input is compared by its canonical JSON: the same operation with another input is a mistake.
	Input any `json:"input"`
}

// Kind is what came of an operation.
type Kind string

// The outcomes of Barrier.
const (
	// Applied: fn ran; its result is stored and committed with the caller's transaction.
	Applied Kind = "APPLIED"
	// Duplicate: it was done before; Result is the first one.
	Duplicate Kind = "DUPLICATE"
	// NullCompensated: an undo that found no action; success.
	NullCompensated Kind = "NULL_COMPENSATED"
	// Suspended: an action after its undo; it must not happen any more.
	Suspended Kind = "SUSPENDED"
	// Busy: a twin is at work; answer IN_PROGRESS and be asked again after RetryAfter.
	Busy Kind = "BUSY"
)

// Outcome of an operation. Result is JSON.
type Outcome struct {
	Kind       Kind
	Result     json.RawMessage
	RetryAfter time.Duration
}

// ErrOtherInput means that the same operation came with another input before.
var ErrOtherInput = errors.New("the operation came with another input before")

// ErrGivenUp means that a prepared saga was given up before its local change: roll back.
var ErrGivenUp = errors.New("the saga was given up before its local change; roll back")

var errChanged = errors.New("the operation changed under this transaction; roll back and run it again")

type key struct {
	tenant, saga, step, op string
	generation             int
}

// Create makes the table, once, at start or in a migration.
func Create(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, statements["create"]); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, statements["index"])
	return err
}

// Purge deletes rows older than olderThan, at least Retention.
func Purge(ctx context.Context, tx pgx.Tx, olderThan time.Duration) (int64, error) {
	if olderThan < Retention {
		return 0, errors.New("rows younger than 7 days may still be asked for")
	}
	tag, err := tx.Exec(ctx, statements["purge"], int64(olderThan.Seconds()))
	return tag.RowsAffected(), err
}

// Barrier runs fn at most once for the task's operation, inside the caller's transaction: commit it afterwards, whatever the outcome. An
// error of fn is returned; roll back then, and the operation may be tried again. ErrOtherInput for another input under the same operation.
func Barrier(ctx context.Context, tx pgx.Tx, task Task, fn func(ctx context.Context) (any, error)) (Outcome, error) {
	fingerprint, err := Fingerprint(task.Input)
	if err != nil {
		return Outcome{}, err
	}
	own := key{task.Tenant, task.Saga, task.Step, string(task.Op), task.Generation}
	action := key{task.Tenant, task.Saga, task.Step, string(Action), 0}
	if task.Op == Action {
		own.generation = 0
	}
	mark := ""
	if task.Op == Compensate {
		if mark, err = claim(ctx, tx, action, fingerprint, string(Compensate)); err != nil || mark == "busy" {
			return Outcome{Kind: Busy, RetryAfter: retryAfter}, err
		}
	}
	claimed, err := claim(ctx, tx, own, fingerprint, string(task.Op))
	if err != nil || claimed == "busy" {
		return Outcome{Kind: Busy, RetryAfter: retryAfter}, err
	}
	if claimed == "taken" {
		return repeat(ctx, tx, own, fingerprint)
	}
	if task.Op == Compensate {
		if mark == "new" {
			return Outcome{Kind: NullCompensated}, nil
		}
		before, err := read(ctx, tx, action)
		if err != nil {
			return Outcome{}, err
		}
		if before.writtenBy != string(Action) {
			return Outcome{Kind: NullCompensated}, nil
		}
	}
	value, err := fn(ctx)
	if err != nil {
		return Outcome{}, err
	}
	result, err := json.Marshal(value)
	if err != nil {
		return Outcome{}, err
	}
	if _, err := tx.Exec(ctx, statements["store"], own.tenant, own.saga, own.step, own.op, own.generation, string(result)); err != nil {
		return Outcome{}, err
	}
	return Outcome{Kind: Applied, Result: result}, nil
}

func repeat(ctx context.Context, tx pgx.Tx, own key, fingerprint string) (Outcome, error) {
	row, err := read(ctx, tx, own)
	switch {
	case err != nil:
		return Outcome{}, err
	case own.op == string(Action) && row.writtenBy == string(Compensate):
		return Outcome{Kind: Suspended}, nil
	case row.fingerprint != fingerprint:
		return Outcome{}, fmt.Errorf("%w: %s of step %s in saga %s", ErrOtherInput, own.op, own.step, own.saga)
	case row.result == nil:
		return Outcome{Kind: NullCompensated}, nil
	}
	return Outcome{Kind: Duplicate, Result: json.RawMessage(*row.result)}, nil
}

// MarkPrepared marks a PREPARED saga's local change as made, in the transaction that makes it. ErrGivenUp when the service asked first.
func MarkPrepared(ctx context.Context, tx pgx.Tx, tenant, saga string) error {
	own := key{tenant, saga, "", "prepare", 0}
	claimed, err := claim(ctx, tx, own, "", "prepare")
	if err != nil || claimed == "new" {
		return err
	}
	if claimed == "busy" {
		return ErrGivenUp
	}
	row, err := read(ctx, tx, own)
	if err == nil && row.writtenBy != "prepare" {
		err = ErrGivenUp
	}
	return err
}

// CheckPrepared is what to answer to CheckPrepared: COMMITTED, ROLLED_BACK or UNKNOWN. Asking writes the blocking row first; commit afterwards.
func CheckPrepared(ctx context.Context, tx pgx.Tx, tenant, saga string) (string, error) {
	own := key{tenant, saga, "", "prepare", 0}
	claimed, err := claim(ctx, tx, own, "", "check")
	if err != nil {
		return "", err
	}
	switch claimed {
	case "busy":
		return "UNKNOWN", nil
	case "new":
		return "ROLLED_BACK", nil
	}
	row, err := read(ctx, tx, own)
	if err != nil {
		return "", err
	}
	if row.writtenBy == "prepare" {
		return "COMMITTED", nil
	}
	return "ROLLED_BACK", nil
}

// claim inserts a row; "busy" when an open transaction holds the same one. The savepoint keeps the caller's transaction usable.
func claim(ctx context.Context, tx pgx.Tx, own key, fingerprint, writtenBy string) (string, error) {
	var before string
	if err := tx.QueryRow(ctx, "select current_setting('lock_timeout')").Scan(&before); err != nil {
		return "", err
	}
	nested, err := tx.Begin(ctx)
	if err != nil {
		return "", err
	}
	if _, err := nested.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d", twinWaitMs)); err != nil {
		return "", err
	}
	tag, err := nested.Exec(ctx, statements["claim"], own.tenant, own.saga, own.step, own.op, own.generation, fingerprint, writtenBy)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "55P03" {
		return "busy", nested.Rollback(ctx)
	}
	if err != nil {
		return "", err
	}
	if err := nested.Commit(ctx); err != nil {
		return "", err
	}
	if _, err := tx.Exec(ctx, "select set_config('lock_timeout', $1, true)", before); err != nil {
		return "", err
	}
	if tag.RowsAffected() == 1 {
		return "new", nil
	}
	return "taken", nil
}

type row struct {
	fingerprint, writtenBy string
	result                 *string
}

func read(ctx context.Context, tx pgx.Tx, own key) (row, error) {
	var found row
	err := tx.QueryRow(ctx, statements["read"], own.tenant, own.saga, own.step, own.op, own.generation).Scan(&found.fingerprint, &found.writtenBy, &found.result)
	if errors.Is(err, pgx.ErrNoRows) {
		// At REPEATABLE READ a row that was committed after this transaction began is not seen.
		err = errChanged
	}
	return found, err
}

// Beginner is a pool or a connection.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// WithBarrier is Barrier in a transaction of its own that is committed here; a serialisation failure is tried again.
func WithBarrier(ctx context.Context, db Beginner, task Task, fn func(ctx context.Context, tx pgx.Tx) (any, error)) (Outcome, error) {
	for attempt := 1; ; attempt++ {
		outcome, err := once(ctx, db, task, fn)
		var refused *pgconn.PgError
		again := errors.Is(err, errChanged) || (errors.As(err, &refused) && (refused.Code == "40001" || refused.Code == "40P01"))
		if err == nil || !again || attempt == attemptsMax {
			return outcome, err
		}
	}
}

func once(ctx context.Context, db Beginner, task Task, fn func(ctx context.Context, tx pgx.Tx) (any, error)) (Outcome, error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	outcome, err := Barrier(ctx, tx, task, func(ctx context.Context) (any, error) { return fn(ctx, tx) })
	if err != nil {
		return Outcome{}, err
	}
	return outcome, tx.Commit(ctx)
}

func load(text string) map[string]string {
	parts := regexp.MustCompile(`(?m)^-- name: `).Split(text, -1)
	named := make(map[string]string, len(parts))
	for _, part := range parts[1:] {
		name, statement, _ := strings.Cut(part, "\n")
		named[name] = statement
	}
	return named
}
