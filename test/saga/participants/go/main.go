// Command participant is a participant in Go: plain HTTP, its own PostgreSQL database (PG* variables), the barrier.
// POST /{step}/{action|compensate} with the amount to book. Prints one JSON line when it serves. Argument: the path of tables.sql.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"pyairtable.dev/workflow/barrier"
)

type participant struct{ pool *pgxpool.Pool }

type input struct {
	Order  string `json:"order"`
	Amount int64  `json:"amount"`
}

type answer struct {
	status int
	body   any
}

// errRefused means that the change is not possible: nothing happened.
var errRefused = errors.New("no room")

// statuses: how a plain HTTP endpoint says the barrier's outcome; the service's table "How an answer is read".
var statuses = map[barrier.Kind]int{
	barrier.Applied: 200, barrier.Duplicate: 200, barrier.NullCompensated: 410, barrier.Suspended: 422, barrier.Busy: 425,
}

func main() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "")
	check(err)
	check(prepare(ctx, pool))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{step}/{op}", participant{pool}.handle)
	fmt.Printf("{\"port\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	check(http.Serve(listener, mux))
}

func prepare(ctx context.Context, pool *pgxpool.Pool) error {
	tables, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := barrier.Create(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, string(tables))
		return err
	})
}

func (p participant) handle(response http.ResponseWriter, request *http.Request) {
	var body input
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	key := strings.Trim(request.Header.Get("Idempotency-Key"), `"`)
	_, suffix, _ := strings.Cut(key, "#")
	generation, _ := strconv.Atoi(suffix)
	task := barrier.Task{
		Tenant: request.Header.Get("X-Tenant-Id"), Saga: request.Header.Get("Saga-Id"), Step: request.PathValue("step"),
		Op: barrier.Op(request.PathValue("op")), Generation: generation, Input: body,
	}
	// What was begun is finished, also when the caller has gone.
	answered, err := p.serve(context.WithoutCancel(request.Context()), task, body, key)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	if answered == nil {
		panic(http.ErrAbortHandler)
	}
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(answered.status)
	_ = json.NewEncoder(response).Encode(answered.body)
}

// serve makes the answer; none when it is to be lost.
func (p participant) serve(ctx context.Context, task barrier.Task, asked input, key string) (*answer, error) {
	var call int64
	const note = "insert into calls (saga, step, op, key) values ($1, $2, $3, $4) returning id"
	if err := p.pool.QueryRow(ctx, note, task.Saga, task.Step, string(task.Op), key).Scan(&call); err != nil {
		return nil, err
	}
	fault, err := p.fault(ctx, task, asked)
	switch {
	case err != nil:
		return nil, err
	case fault == "unavailable":
		return &answer{503, struct{}{}}, nil
	case fault == "late":
		if err := p.untilUndone(ctx, task); err != nil {
			return nil, err
		}
	}
	outcome, err := p.book(ctx, task, asked, fault)
	kind, result := string(outcome.Kind), &answer{statuses[outcome.Kind], outcome.Result}
	if errors.Is(err, errRefused) {
		kind, result = "REFUSED", &answer{422, map[string]string{"error": err.Error()}}
	} else if err != nil {
		return nil, err
	}
	if _, err := p.pool.Exec(ctx, "update calls set outcome = $2 where id = $1", call, kind); err != nil {
		return nil, err
	}
	if fault == "lost" {
		return nil, nil
	}
	return result, nil
}

func (p participant) book(ctx context.Context, task barrier.Task, asked input, fault string) (barrier.Outcome, error) {
	return barrier.WithBarrier(ctx, p.pool, task, func(ctx context.Context, tx pgx.Tx) (any, error) {
		amount := asked.Amount
		if task.Op == barrier.Compensate {
			amount = -amount
		}
		var entry int64
		const insert = "insert into ledger (saga, step, op, amount) values ($1, $2, $3, $4) returning id"
		if err := tx.QueryRow(ctx, insert, task.Saga, task.Step, string(task.Op), amount).Scan(&entry); err != nil {
			return nil, err
		}
		if fault == "refuse" {
			return nil, errRefused
		}
		return map[string]any{"entry": entry, "by": "go"}, nil
	})
}

func (p participant) fault(ctx context.Context, task barrier.Task, asked input) (fault string, err error) {
	const take = "delete from faults where id = (select min(id) from faults where saga_key = $1 and step = $2 and op = $3) returning fault"
	err = p.pool.QueryRow(ctx, take, asked.Order, task.Step, string(task.Op)).Scan(&fault)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return fault, err
}

// untilUndone returns when the step's undo was here.
func (p participant) untilUndone(ctx context.Context, task barrier.Task) error {
	const look = "select exists (select from calls where saga = $1 and step = $2 and op = 'compensate' and outcome is not null)"
	for {
		var isUndone bool
		if err := p.pool.QueryRow(ctx, look, task.Saga, task.Step).Scan(&isUndone); err != nil || isUndone {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
