// Command barrierdriver runs the shared vectors' commands: one JSON object a line in, one out. Argument: a PostgreSQL connection string.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/jackc/pgx/v5"

	"pyairtable.dev/workflow/barrier"
)

type command struct {
	Canonical json.RawMessage `json:"canonical"`
	Create    bool            `json:"create"`
	Session   string          `json:"session"`
	End       string          `json:"end"`
	Prepare   string          `json:"prepare"`
	Saga      string          `json:"saga"`
	Task      *barrier.Task   `json:"task"`
	Hold      bool            `json:"hold"`
	Fails     bool            `json:"fails"`
	Result    any             `json:"result"`
}

type session struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

func main() {
	ctx := context.Background()
	sessions := map[string]*session{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		var asked command
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			panic(err)
		}
		if asked.Canonical != nil {
			var value any
			_ = json.Unmarshal(asked.Canonical, &value)
			text, err := barrier.CanonicalJSON(value)
			if err != nil {
				panic(err)
			}
			_ = out.Encode(map[string]any{"canonical": text})
			continue
		}
		current := sessions[asked.Session]
		if current == nil {
			conn, err := pgx.Connect(ctx, os.Args[1])
			if err != nil {
				panic(err)
			}
			current = &session{conn: conn}
			sessions[asked.Session] = current
		}
		_ = out.Encode(run(ctx, current, asked))
	}
}

func run(ctx context.Context, current *session, asked command) map[string]any {
	if asked.End != "" {
		if asked.End == "commit" {
			_ = current.tx.Commit(ctx)
		} else {
			_ = current.tx.Rollback(ctx)
		}
		current.tx = nil
		return map[string]any{"kind": "ENDED"}
	}
	if current.tx == nil {
		tx, err := current.conn.Begin(ctx)
		if err != nil {
			panic(err)
		}
		current.tx = tx
	}
	answer, ran, err := carryOut(ctx, current.tx, asked)
	if err != nil {
		_ = current.tx.Rollback(ctx)
		current.tx = nil
		return map[string]any{"kind": "ERROR", "ran": ran, "message": err.Error()}
	}
	if !asked.Hold {
		if err := current.tx.Commit(ctx); err != nil {
			panic(err)
		}
		current.tx = nil
	}
	return answer
}

func carryOut(ctx context.Context, tx pgx.Tx, asked command) (map[string]any, bool, error) {
	ran := false
	switch {
	case asked.Create:
		return map[string]any{"kind": "CREATED"}, ran, barrier.Create(ctx, tx)
	case asked.Prepare == "mark":
		return map[string]any{"kind": "MARKED"}, ran, barrier.MarkPrepared(ctx, tx, "", asked.Saga)
	case asked.Prepare == "check":
		kind, err := barrier.CheckPrepared(ctx, tx, "", asked.Saga)
		return map[string]any{"kind": kind}, ran, err
	}
	outcome, err := barrier.Barrier(ctx, tx, *asked.Task, func(ctx context.Context) (any, error) {
		ran = true
		if _, err := tx.Exec(ctx, "insert into effects (saga, op) values ($1, $2)", asked.Task.Saga, string(asked.Task.Op)); err != nil {
			return nil, err
		}
		if asked.Fails {
			return nil, errors.New("the business change fails")
		}
		return asked.Result, nil
	})
	result := any(outcome.Result)
	if outcome.Result == nil {
		result = nil
	}
	return map[string]any{"kind": string(outcome.Kind), "result": result, "ran": ran}, ran, err
}
